"""A torch module on its devices: precision, copies, memory that runs out.

runtime = Runtime(module, settings)
features = runtime.run(inputs)          # a dictionary of tensors → float32 on the CPU
"""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import torch
from torch import Tensor, nn

from mmfeat.encoders.packing import pack
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def devices_of(device: str) -> list[torch.device]:
    """The devices a flag names.

    Args:
        device: `auto` (all GPUs, or the CPU where there is none), `cpu`, `cuda` (all GPUs),
            `cuda:1`, `cuda:0,1`.

    Raises:
        MmfeatError: a GPU that is not there, or no such device.
    """
    count = torch.cuda.device_count()
    if device == "auto":
        return [torch.device("cuda", i) for i in range(count)] or [torch.device("cpu")]
    if device == "cpu":
        return [torch.device("cpu")]
    kind, _, numbers = device.partition(":")
    if kind != "cuda" or not all(number.isdigit() for number in numbers.split(",") if numbers):
        raise MmfeatError("--device must be auto, cpu, cuda, cuda:0 or cuda:0,1", got=device)
    wanted = [int(number) for number in numbers.split(",")] if numbers else list(range(count))
    if not wanted or max(wanted) >= count:
        raise MmfeatError(
            f"--device asks for a GPU, and this machine has {count} that torch can use",
            got=device,
            cure="Use --device cpu, or install a torch for your GPU",
        )
    return [torch.device("cuda", index) for index in wanted]


class Runtime:
    """Runs the forward of a frozen module.

    Args:
        module: the model; it is put into eval mode, its weights are cast and moved.
        settings: device and precision.
        forward: from the module and its inputs to the features, shape [batch, …]; the module's
            own call where not given.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: Settings,
        forward: Callable[[nn.Module, dict[str, Tensor]], Tensor] | None = None,
    ) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.dtype = DTYPES[settings.precision]
        self._forward = forward or (lambda model, inputs: model(**inputs))
        module = module.eval().requires_grad_(False).to(self.dtype)
        self.devices = devices_of(settings.device)
        self._modules = [_on(module, device, number) for number, device in enumerate(self.devices)]
        if self.devices[0].type == "cpu":
            pack(module)
        self._pool = ThreadPoolExecutor(len(self.devices)) if len(self.devices) > 1 else None

    @classmethod
    def of_program(cls, module: nn.Module, device: torch.device) -> Self:
        """A runtime of an exported program: one input, its own types, one device."""
        made = cls.__new__(cls)
        made.dtype = torch.float32
        made._forward = lambda program, inputs: program(*inputs.values())
        made.devices, made._modules, made._pool = [device], [module.to(device)], None
        return made

    def run(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The features of a batch, in float32 on the CPU.

        Memory that runs out halves the batch; a batch of one that does not fit is an error.

        Args:
            inputs: tensors on the CPU whose first dimension is the batch; those of floating point
                are cast to the precision.
        """
        with torch.inference_mode():
            if self._pool is None:
                return self._run_on(0, dict(inputs))
            parts = _split(inputs, len(self.devices))
            return torch.cat(list(self._pool.map(self._run_on, range(len(parts)), parts)))

    def _run_on(self, number: int, inputs: dict[str, Tensor]) -> Tensor:
        device = self.devices[number]
        try:
            with torch.inference_mode():
                moved = {name: self._moved(value, device) for name, value in inputs.items()}
                return self._forward(self._modules[number], moved).float().cpu()
        except torch.OutOfMemoryError:
            parts = _split(inputs, 2)
            if len(parts) < 2:
                raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return torch.cat([self._run_on(number, part) for part in parts])

    def _moved(self, value: Tensor, device: torch.device) -> Tensor:
        dtype = self.dtype if value.is_floating_point() else value.dtype
        if device.type == "cuda":
            value = value.pin_memory()
        return value.to(device, dtype, non_blocking=True)


def weights_digest(module: nn.Module) -> str:
    """sha256 over names, shapes and values of all weights, in the type they are stored in."""
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        total.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return total.hexdigest()


def versions(*packages: str) -> dict[str, Any]:
    """Versions of the packages that the values depend on, torch first."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", *packages)}


def _on(module: nn.Module, device: torch.device, number: int) -> nn.Module:
    """The module on a device; a copy of its own for all but the first."""
    import copy

    return (module if number == 0 else copy.deepcopy(module)).to(device)


def _split(inputs: Mapping[str, Tensor], number: int) -> list[dict[str, Tensor]]:
    """Parts of a batch, none of them empty."""
    rows = len(next(iter(inputs.values())))
    parts = [dict(inputs)]
    if rows > 1 and number > 1:
        chunks = {name: value.tensor_split(min(number, rows)) for name, value in inputs.items()}
        parts = [
            {name: chunk[i] for name, chunk in chunks.items()} for i in range(min(number, rows))
        ]
    return parts
