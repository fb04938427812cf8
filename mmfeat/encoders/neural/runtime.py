"""Forward passes of torch modules: device, precision, streams.

runtime = Runtime(module, settings)
features = runtime.run(inputs)      # dict of tensors → float32 on the CPU
"""

import copy
import os
import platform
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from mmfeat.encoders.neural.compilation import CompiledForward, Forward
from mmfeat.encoders.neural.cuda_graphs import GraphedForward
from mmfeat.encoders.neural.packing import pack_weights
from mmfeat.encoders.settings import Precision, Settings
from mmfeat.errors import MmfeatError

Prepare = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""A function of the inputs that runs on their device, before the cast to the precision."""

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_STREAMS = 2
"""Batches on a GPU at the same time: while one is copied or decoded, another is computed."""

_SWITCH_SECONDS = 2e-4
"""How long a thread may keep the lock of the interpreter. A thread that launches work on a GPU asks
for it hundreds of times per batch, and the threads that read would keep it for 5 ms each time."""


def resolve_devices(device: str) -> list[torch.device]:
    """Return the devices that a flag names.

    Args:
        device: `auto` (all GPUs, or the CPU if there is no GPU), `cpu`, `cuda` (all GPUs),
            `cuda:1`, or `cuda:0,1`.

    Raises:
        MmfeatError: unknown device, or a GPU that this machine does not have.
    """
    count = torch.cuda.device_count()
    if device == "auto":
        return [torch.device("cuda", i) for i in range(count)] or [torch.device("cpu")]
    if device == "cpu":
        return [torch.device("cpu")]
    kind, _, numbers = device.partition(":")
    if kind != "cuda" or not all(number.isdigit() for number in numbers.split(",") if numbers):
        raise MmfeatError("--device must be auto, cpu, cuda, cuda:0 or cuda:0,1", got=device)
    indices = [int(number) for number in numbers.split(",")] if numbers else list(range(count))
    if not indices or max(indices) >= count:
        raise MmfeatError(
            f"--device asks for a GPU, and torch can use {count} on this machine",
            got=device,
            cure="Use --device cpu, or install a torch for your GPU",
        )
    return [torch.device("cuda", index) for index in indices]


def describe_hardware(devices: Sequence[torch.device]) -> str:
    """Return model, memory and number of the GPUs, or model and cores of the CPU."""
    if devices[0].type == "cuda":
        gpu = torch.cuda.get_device_properties(devices[0])
        return f"{len(devices)} {gpu.name} {gpu.total_memory}"
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{os.cpu_count()} {_cpu_model()} {instructions}"


@cache
def _cpu_model() -> str:
    """Return the name of the CPU and its instructions for matrices."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    lines = (line.partition(":") for line in text.splitlines())
    facts = {name.strip(): value.strip() for name, _, value in lines}
    flags = [flag for flag in facts.get("flags", "").split() if flag.startswith(("amx", "avx"))]
    return f"{facts.get('model name', platform.processor())} {' '.join(flags)}"


class Runtime:
    """Runs the forward pass of a frozen module on one device, the first of the settings.

    Args:
        module: the model. It is set to eval mode, cast, and moved.
        settings: device, precision and threads.
        forward: computes the features. None = call the module.
    """

    def __init__(
        self, module: nn.Module, settings: Settings, forward: Forward | None = None
    ) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._threads = settings.threads
        self.dtype = _DTYPES[settings.precision]
        self._forward = forward or (lambda model, inputs: model(**inputs))
        self.devices = resolve_devices(settings.device)
        self.device = self.devices[0]
        self._start(module.eval().requires_grad_(False).to(self.dtype).to(self.device))

    @classmethod
    def for_program(cls, module: nn.Module, settings: Settings) -> Self:
        """Return a runtime of an exported program: one input, fixed types."""
        runtime = cls.__new__(cls)
        runtime._threads = settings.threads
        runtime.dtype = torch.float32
        runtime._forward = lambda program, inputs: program(*inputs.values())
        runtime.devices = resolve_devices(settings.device)
        runtime.device = runtime.devices[0]
        runtime.module = module.to(runtime.device)
        runtime._reset()
        return runtime

    def at_precision(self, precision: Precision) -> Self:
        """Return a runtime of the same weights in another type. They are cast on their device."""
        runtime = copy.copy(self)
        runtime.dtype = _DTYPES[precision]
        runtime._start(_cast_copy(self.module, runtime.dtype))
        return runtime

    def compiled(self, rows: int) -> Self:
        """Return the same runtime with a compiled forward pass, for batches of a number of rows."""
        runtime = copy.copy(self)
        if isinstance(self._forward, CompiledForward):
            runtime._forward = self._forward.with_rows(rows)
        else:
            runtime._forward = CompiledForward(self._forward, rows)
        runtime._reset()
        return runtime

    @property
    def is_compiled(self) -> bool:
        """Whether the forward pass is compiled."""
        return isinstance(self._forward, CompiledForward)

    def _start(self, module: nn.Module) -> None:
        """Use a module that is on its device."""
        self.module = module
        self._reset()
        if self.on_gpu:
            torch.cuda.synchronize(self.device)  # other streams use the weights
            sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
        else:
            pack_weights(module)

    def _reset(self) -> None:
        """Forget the streams and graphs of another forward pass."""
        self._local = threading.local()
        self._graphed = GraphedForward(self.device)

    @property
    def on_gpu(self) -> bool:
        """True if the forward pass leaves the CPU free."""
        return self.device.type != "cpu"

    @property
    def half_precisions(self) -> tuple[Precision, ...]:
        """Precisions of 16 bits that may be faster than float32 on the device."""
        if not self.on_gpu:
            return ("bfloat16",)
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bfloat16", "float16") if has_bfloat16 else ("float16",)

    @property
    def parallel_batches(self) -> int:
        """Number of batches to run at the same time, each in a thread.

        On a CPU one per core: threads that share a batch wait for each other at each operation.
        Batches of a core each are a fifth faster with ViT-B/32 and MiniLM on two cores.
        """
        return _STREAMS if self.on_gpu else max(1, self._threads)

    def stream(self) -> AbstractContextManager[object]:
        """Return the stream of this thread, in which its work on the GPU runs."""
        if not self.on_gpu:
            return nullcontext()
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self.device)
        context: AbstractContextManager[object] = torch.cuda.stream(self._local.stream)
        return context

    def run(
        self,
        inputs: Mapping[str, Tensor],
        prepare: Prepare | None = None,
        *,
        one_shape: bool = False,
    ) -> Tensor:
        """Compute the features of a batch: float32, on the CPU.

        Args:
            inputs: tensors whose first dimension is the batch, on the CPU or the device.
                Floating-point tensors are cast to the precision.
            prepare: what to do with them on the device first.
            one_shape: whether most batches have the same shape, which a GPU computes as a graph.

        Raises:
            OutOfMemoryError: of torch; the memory of the GPU does not hold the batch.
        """

        def compute(moved: Mapping[str, Tensor]) -> Tensor:
            prepared = prepare(dict(moved)) if prepare else moved
            cast = {name: self._cast(value) for name, value in prepared.items()}
            return self._forward(self.module, cast).float()

        with torch.inference_mode(), self.stream():
            moved = {name: _move(value, self.device) for name, value in inputs.items()}
            if one_shape and self.on_gpu:
                return self._graphed(compute, moved)
            return compute(moved).cpu()

    def free_graphs(self) -> None:
        """Give the memory of CUDA graphs back: a batch did not fit beside them."""
        self._graphed.disable()

    def _cast(self, value: Tensor) -> Tensor:
        return value.to(self.dtype) if value.is_floating_point() else value


def _cast_copy(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a module whose floating-point weights have another type."""
    copies: dict[int, Any] = {}
    for value in chain(module.parameters(), module.buffers()):
        if value.is_floating_point():
            cast = value.to(dtype)
            is_weight = isinstance(value, nn.Parameter)
            copies[id(value)] = nn.Parameter(cast, requires_grad=False) if is_weight else cast
    return copy.deepcopy(module, copies)


def _move(value: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and value.device.type == "cpu":
        value = value.pin_memory()
    return value.to(device, non_blocking=True)
