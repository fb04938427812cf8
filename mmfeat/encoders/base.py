"""What every frozen encoder is: bytes of one member in, one vector out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np


class Encoder(ABC):
    """A frozen encoder of one modality.

    `decode` runs once a record, in several threads at a time; `encode` runs once a batch, in one
    thread. Neither keeps state between calls, so a record's feature never depends on its
    neighbours.
    """

    modality: ClassVar[str]
    """The modality this encoder reads: `image`, `text`, …"""

    dim: int
    """Length of one pooled feature."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything a feature's values depend on, JSON-ready; its hash is the fingerprint."""

    @abstractmethod
    def decode(self, data: bytes) -> Any:
        """One member's bytes as this encoder's input.

        Raises:
            RecordError: the bytes cannot be used; only this record is lost.
        """

    @abstractmethod
    def encode(self, batch: Sequence[Any]) -> np.ndarray:
        """Features of a batch of decoded inputs: float32, shape (len(batch), dim)."""
