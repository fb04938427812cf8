"""What every input form is to the sharding stage: a stream of records, told apart by a digest."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmfeat.records.record import Record


@dataclass(frozen=True)
class InputOptions:
    """How an input is to be understood.

    Attributes:
        columns: modality → `COLUMN` or `SLOT=COLUMN`, for those the user named.
        key_column: column of keys; empty = from the names of the files.
        allow_outside: whether relative paths may leave the folder of the table.
        folder_labels: whether folders of pictures name the label (and the split) of what they hold.
    """

    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    key_column: str = ""
    allow_outside: bool = False
    folder_labels: bool = True

    @property
    def names_columns(self) -> bool:
        """Whether any of them goes with a table only."""
        return bool(self.key_column or any(self.columns.values()))


class Source(ABC):
    """A place raw records come from."""

    slots: tuple[str, ...]
    """Slots every record is expected to have."""

    in_order: bool = False
    """Whether reading media in the order of the input is what keeps their reading cheap."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """How the input is read, JSON-ready, with a digest of its names and metadata."""

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """The records, streamed, in an order that does not change while the input does not."""

    @property
    def columns(self) -> Sequence[str] | None:
        """Names of the metadata columns, where they are known beforehand."""
        return None

    def notes(self) -> list[str]:
        """What a person should know of how the input was understood."""
        return []
