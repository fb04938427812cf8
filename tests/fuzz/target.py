"""What a fuzz target is: a reader of bytes, inputs to start from, and the errors it may raise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from mmfeat.errors import MmfeatError, RecordError
from tests.fuzz.mutations import mutate_bytes


@dataclass(frozen=True)
class Target:
    """A reader of bytes.

    Attributes:
        read: reads one input to its end.
        seeds: intact inputs, which raise no error.
        tokens: words of the format.
        mutate: makes an input from random numbers, seeds and tokens.
        documented: errors that the reader documents besides our own.
    """

    read: Callable[[bytes], object]
    seeds: Sequence[bytes]
    tokens: Sequence[bytes] = ()
    mutate: Callable[[Random, Sequence[bytes], Sequence[bytes]], bytes] = mutate_bytes
    documented: tuple[type[Exception], ...] = ()

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """All errors that the reader may raise."""
        return (MmfeatError, RecordError, *self.documented)
