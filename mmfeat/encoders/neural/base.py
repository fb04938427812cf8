"""The base of encoders that run a torch module: the same weights at several precisions."""

import copy
from typing import Any, Self

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.encoders.settings import Precision


class NeuralEncoder(Encoder):
    """An encoder with a `Runtime`. Subclasses set both attributes."""

    _runtime: Runtime
    _identity: dict[str, Any]

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
