"""What every frozen encoder is: bytes of one member in, one vector out, or one a token."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np


class Encoder(ABC):
    """A frozen encoder of one modality.

    `decode` runs once a record, in several threads at a time; `encode` runs once a batch, in one
    thread. Neither keeps state between calls, so a record's feature never depends on its
    neighbours.
    """

    modality: str
    """The modality this encoder reads: `image`, `text`, `audio`."""

    dim: int
    """Length of one vector."""

    max_tokens: int = 0
    """0 for one vector a record; else a record has one to so many vectors."""

    batch_size: int = 64
    """Records encoded at a time at most, where the user asks for no number."""

    on_gpu: bool = False
    """Whether the forward leaves the CPU free to decode meanwhile."""

    budget: int | None = None
    """Most units of `length` in a batch, padding counted; None = no bound but the batch size."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything a feature's values depend on, JSON-ready; its hash is the fingerprint."""

    @abstractmethod
    def decode(self, data: bytes) -> Any:
        """One member's bytes as this encoder's input.

        Raises:
            RecordError: the bytes cannot be used; only this record is lost.
        """

    def length(self, item: Any) -> int:
        """What a decoded input costs: tokens of a text, frames of a sound.

        Inputs of like length are put into one batch, so that little is spent on padding.
        """
        return 1

    @abstractmethod
    def encode(self, batch: Sequence[Any]) -> np.ndarray | list[np.ndarray]:
        """Features of a batch of decoded inputs.

        Returns:
            float32, shape (len(batch), dim); of tokens a list of arrays of shape (tokens, dim).
        """
