"""The interface of all encoders: bytes of one member in, one vector or one vector per token out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from mmfeat.encoders.settings import Precision
from mmfeat.errors import MmfeatError


class CompileError(MmfeatError):
    """The forward pass cannot be compiled on this machine."""


class Encoder(ABC):
    """A frozen encoder of one modality.

    `decode` runs once per record, in several threads at the same time. `encode` runs once per
    batch, in up to `parallel_batches` threads. Neither keeps state between calls, so the feature of
    a record never depends on other records.
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

    half_precisions: tuple[Precision, ...] = ("bfloat16",)
    """Precisions to try besides float32, the preferred one first."""

    devices: Sequence[str] = ()
    """GPUs that the settings allow. A process uses the first one."""

    hardware: str = ""
    """What the speed depends on: CPU or GPU, and their number. Empty = unknown, so that what is
    measured is not remembered."""

    parallel_batches: int = 1
    """Number of batches to encode at the same time, each in a thread."""

    uses_one_core: bool = False
    """True if it needs one core and little memory, so that each core may run its own."""

    can_decode_on_gpu: bool = False
    """True if it can be loaded with `Settings.decode` = `gpu`."""

    padded_rows: int = 0
    """Records that each batch is padded to, so that a smaller one takes the same memory; 0 = not
    padded."""

    can_compile: bool = False
    """True if `compiled` may make the forward pass faster."""

    reads_views: bool = False
    """True if `decode` also takes a memoryview, which saves a copy of each member."""

    budget: int | None = None
    """Maximum total `length` of a batch, padding included. None = only `batch_size` counts."""

    def decoding_on_gpu(self) -> "Encoder":
        """Return the same encoder with `Settings.decode` = `gpu`.

        Raises:
            MmfeatError: not `can_decode_on_gpu`.
        """
        raise MmfeatError(
            "this encoder cannot decode on a GPU", got="--decode=gpu", cure="Use --decode=auto"
        )

    def compiled(self, rows: int) -> "Encoder":
        """Return the same encoder with a compiled forward pass.

        Its features may differ by rounding, so the identity of a column says that it is compiled.
        If the encoder is compiled already, only the size changes.

        Args:
            rows: records of each batch. Smaller batches are padded.

        Raises:
            CompileError: not `can_compile`, or the compiler fails.
        """
        raise CompileError("this encoder cannot be compiled")

    def at_precision(self, precision: Precision) -> Self | None:
        """Return the same encoder with another precision; None if it must be loaded again."""
        return None

    def prepare_thread(self) -> None:  # noqa: B027 - most encoders need nothing
        """Prepare one of several threads that encode batches. It is called in that thread."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return everything the feature values depend on, JSON-ready.

        Its hash is the fingerprint of the column.
        """

    def keep(self, data: bytes | memoryview) -> Any | None:
        """Return a member as an input of `encode` if it needs no decoding, else None.

        It must take next to no time: one thread calls it for all records, and `decode` for those
        without a result.
        """
        return None

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
