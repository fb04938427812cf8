"""The base of encoders that run a torch module: the same weights at several precisions."""

import copy
from typing import Any, Self

import torch

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.neural.runtime import Runtime, describe_hardware
from mmfeat.encoders.settings import Precision


class NeuralEncoder(Encoder):
    """An encoder with a `Runtime`. Subclasses set both attributes."""

    _runtime: Runtime
    _identity: dict[str, Any]

    @property
    def half_precisions(self) -> tuple[Precision, ...]:  # type: ignore[override]
        """Precisions to try besides float32: on a GPU those with instructions of their own."""
        return self._runtime.half_precisions

    def prepare_thread(self) -> None:
        """Let the operations of this thread use no other threads: each core has a batch."""
        torch.set_num_threads(1)

    @property
    def devices(self) -> list[str]:  # type: ignore[override]
        """GPUs that the settings allow; the first one is used."""
        return [str(device) for device in self._runtime.devices if device.type != "cpu"]

    @property
    def hardware(self) -> str:  # type: ignore[override]
        """The GPUs, or the CPU, with their number."""
        return describe_hardware(self._runtime.devices)

    def identity(self) -> dict[str, Any]:
        return self._identity

    def at_precision(self, precision: Precision) -> Self:
        """Return what loading with another precision would; the weights are cast, not read again.

        Args:
            precision: of the weights and the forward pass. This encoder must have float32.
        """
        encoder = copy.copy(self)
        encoder._runtime = self._runtime.at_precision(precision)
        encoder._identity = {**self._identity, "precision": precision}
        return encoder
