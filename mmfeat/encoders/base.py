"""The interface of all encoders: bytes of one member in, one vector or one vector per token out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np


class Encoder(ABC):
    """A frozen encoder of one modality.

    `decode` runs once per record, in several threads at the same time. `encode` runs once per
    batch, in one thread. Neither keeps state between calls, so the feature of a record never
    depends on other records.
    """

    modality: str
    """The modality this encoder reads: `image`, `text` or `audio`."""

    dim: int
    """Length of one vector."""

    max_tokens: int = 0
    """Maximum number of vectors per record. 0 = exactly one vector, not a list."""

    batch_size: int = 64
    """Maximum number of records per batch, unless the user sets another."""

    on_gpu: bool = False
    """True if the forward pass leaves the CPU free to decode the next records."""

    budget: int | None = None
    """Maximum total `length` of a batch, padding included. None = only `batch_size` counts."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return everything the feature values depend on, JSON-ready.

        Its hash is the fingerprint of the column.
        """

    @abstractmethod
    def decode(self, data: bytes) -> Any:
        """Convert the bytes of one member to an input of `encode`.

        Raises:
            RecordError: the bytes cannot be used. Only this record has no feature.
        """

    def length(self, item: Any) -> int:
        """Return the cost of a decoded input: tokens of a text, samples of a sound.

        Inputs of similar length share a batch, so that padding wastes little.
        """
        return 1

    @abstractmethod
    def encode(self, batch: Sequence[Any]) -> np.ndarray | list[np.ndarray]:
        """Compute the features of a batch of decoded inputs.

        Returns:
            float32, shape (len(batch), dim). For token columns: a list of float32 arrays of
            shape (tokens, dim).
        """
