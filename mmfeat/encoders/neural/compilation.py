"""A compiled forward pass, for batches of one size.

torch.compile fuses the operations between matrix products. It compiles for fixed shapes, so that a
batch has the same code whatever came before it; smaller batches are padded.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, Self

import torch
from torch import Tensor, nn

from mmfeat.encoders.base import CompileError

Forward = Callable[[nn.Module, dict[str, Tensor]], Tensor]
"""A function from a module and its inputs to features of shape [batch, …]."""

BACKEND = "inductor"
"""The compiler. CUDA graphs would need batches in one thread, and two batches overlap here."""

_RECOMPILES = 64
"""Sizes of batches per process. Beyond 8, torch would return to the uncompiled module."""

_COMPILER_MODULES = ("torch._dynamo", "torch._inductor", "triton")


class CompiledForward:
    """A compiled `Forward` for batches of a fixed size.

    Args:
        forward: the function to compile. It must treat each row alone.
        rows: rows of a batch. Smaller ones are padded with zeros, larger ones are split.
    """

    def __init__(self, forward: Forward, rows: int) -> None:
        self._compiled = torch.compile(forward, dynamic=False, backend=BACKEND, **_options())
        self._rows = rows

    def with_rows(self, rows: int) -> Self:
        """Return the same function for batches of another size."""
        other = type(self).__new__(type(self))
        other._compiled, other._rows = self._compiled, rows
        return other

    def __call__(self, module: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """Compute the features of a batch.

        Raises:
            CompileError: the compiler fails.
        """
        count = len(next(iter(inputs.values())))
        parts = [
            self._call(
                module, {name: value[start : start + self._rows] for name, value in inputs.items()}
            )
            for start in range(0, count, self._rows)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _call(self, module: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        count = len(next(iter(inputs.values())))
        padded = {name: _pad(value, self._rows) for name, value in inputs.items()}
        try:
            features: Tensor = self._compiled(module, padded)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if type(error).__module__.startswith(_COMPILER_MODULES):
                raise CompileError(_describe(error)) from error
            raise
        return features[:count]


def _options() -> dict[str, Any]:
    """Return the options of torch.compile that this version of torch has."""
    options: dict[str, Any] = {}
    if "isolate_recompiles" in signature(torch.compile).parameters:
        options = {"recompile_limit": _RECOMPILES, "isolate_recompiles": True}
    if BACKEND == "inductor" and hasattr(torch._inductor.config, "deterministic"):
        # No measurement may choose between kernels that round in different ways.
        options["options"] = {"deterministic": True}
    return options


def _pad(value: Tensor, rows: int) -> Tensor:
    """Return a tensor with zeros after its last row, contiguous as that of a full batch."""
    if len(value) == rows:
        return value
    padded = value.new_zeros((rows, *value.shape[1:]))
    padded[: len(value)] = value
    return padded


def _describe(error: Exception) -> str:
    """Return an error of the compiler in one line, without the advice for its developers."""
    text = " ".join(str(error).partition("Set TORCH")[0].split())
    return f"torch.compile fails: {type(error).__name__}: {text[:300]}"
