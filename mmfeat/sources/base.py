"""What every input form is to the sharding stage: a stream of records, told apart by a digest."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from mmfeat.sample import Record


class Source(ABC):
    """A place raw records come from."""

    root: str
    """Folder that relative paths of parts start from."""

    modalities: tuple[str, ...]
    """Modalities every record is expected to have."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """How the input is read, JSON-ready, with a digest of its names and metadata."""

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """The records, streamed, in an order that does not change while the input does not."""

    def notes(self) -> list[str]:
        """What a person should know of how the input was understood."""
        return []
