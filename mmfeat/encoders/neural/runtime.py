"""Forward passes of torch modules: devices, precision, and batches that exceed the memory.

runtime = Runtime(module, settings)
features = runtime.run(inputs)      # dict of tensors → float32 on the CPU
"""

import copy
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Self

import torch
from torch import Tensor, nn

from mmfeat.encoders.neural.packing import pack_weights
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError

Forward = Callable[[nn.Module, dict[str, Tensor]], Tensor]
"""A function from a module and its inputs to features of shape [batch, …]."""

Prepare = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""A function of the inputs that runs on their device, before the cast to the precision."""

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_STREAMS = 2
"""Batches on a GPU at the same time: while one is copied or decoded, another is computed."""


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


class Runtime:
    """Runs the forward pass of a frozen module on one or more devices.

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
        self.dtype = _DTYPES[settings.precision]
        self._forward = forward or (lambda model, inputs: model(**inputs))
        module = module.eval().requires_grad_(False).to(self.dtype)
        self.devices = resolve_devices(settings.device)
        self.modules = [
            (copy.deepcopy(module) if number else module).to(device)
            for number, device in enumerate(self.devices)
        ]
        if self.on_gpu:
            torch.cuda.synchronize()  # other streams use the weights
        else:
            pack_weights(module)
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(len(self.devices)) if len(self.devices) > 1 else None

    @classmethod
    def for_program(cls, module: nn.Module, device: torch.device) -> Self:
        """Return a runtime of an exported program: one input, fixed types, one device."""
        runtime = cls.__new__(cls)
        runtime.dtype = torch.float32
        runtime._forward = lambda program, inputs: program(*inputs.values())
        runtime.devices, runtime.modules, runtime._pool = [device], [module.to(device)], None
        runtime._local = threading.local()
        return runtime

    @property
    def on_gpu(self) -> bool:
        """True if the forward pass leaves the CPU free."""
        return self.devices[0].type != "cpu"

    @property
    def parallel_batches(self) -> int:
        """Number of batches to run at the same time, each in a thread."""
        return _STREAMS if self.on_gpu and self._pool is None else 1

    def stream(self) -> AbstractContextManager[object]:
        """Return the stream of this thread, in which its work on the GPU runs."""
        if self.parallel_batches == 1:
            return nullcontext()
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self.devices[0])
        context: AbstractContextManager[object] = torch.cuda.stream(self._local.stream)
        return context

    def run(self, inputs: Mapping[str, Tensor], prepare: Prepare | None = None) -> Tensor:
        """Compute the features of a batch: float32, on the CPU.

        If the memory of the device runs out, the batch is halved. One record that does not fit is
        an error.

        Args:
            inputs: tensors whose first dimension is the batch, on the CPU or the first device.
                Floating-point tensors are cast to the precision.
            prepare: what to do with them on the device first.
        """
        with torch.inference_mode(), self.stream():
            if self._pool is None:
                return self._run_on(0, dict(inputs), prepare)
            parts = _split_batch(inputs, len(self.devices))
            numbers, prepares = range(len(parts)), [prepare] * len(parts)
            return torch.cat(list(self._pool.map(self._run_on, numbers, parts, prepares)))

    def _run_on(
        self, number: int, inputs: dict[str, Tensor], prepare: Prepare | None = None
    ) -> Tensor:
        device = self.devices[number]
        try:
            with torch.inference_mode():
                moved = {name: _move(value, device) for name, value in inputs.items()}
                moved = prepare(moved) if prepare else moved
                moved = {name: self._cast(value) for name, value in moved.items()}
                return self._forward(self.modules[number], moved).float().cpu()
        except torch.OutOfMemoryError:
            parts = _split_batch(inputs, 2)
            if len(parts) < 2:
                raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return torch.cat([self._run_on(number, part, prepare) for part in parts])

    def _cast(self, value: Tensor) -> Tensor:
        return value.to(self.dtype) if value.is_floating_point() else value


def _move(value: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and value.device.type == "cpu":
        value = value.pin_memory()
    return value.to(device, non_blocking=True)


def _split_batch(inputs: Mapping[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """Split a batch into at most `count` parts, none of them empty."""
    count = min(count, len(next(iter(inputs.values()))))
    if count < 2:
        return [dict(inputs)]
    chunks = {name: value.tensor_split(count) for name, value in inputs.items()}
    return [{name: chunk[i] for name, chunk in chunks.items()} for i in range(count)]
