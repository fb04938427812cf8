"""The interface of all input forms: a stream of records, identified by a digest."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmfeat.media import ReadPolicy
from mmfeat.records import Record


@dataclass(frozen=True)
class InputOptions:
    """Options for reading an input.

    Attributes:
        columns: modality → `COLUMN` or `NAME=COLUMN`, as named by the user.
        key_column: column of keys; empty = keys come from file names.
        read_policy: what the rows of a table may make this machine read.
        folder_labels: whether folder names give label and split of the files in them.
    """

    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    key_column: str = ""
    read_policy: ReadPolicy = field(default_factory=ReadPolicy)
    folder_labels: bool = True

    @property
    def names_columns(self) -> bool:
        """Whether any option names a table column."""
        return bool(self.key_column or any(self.columns.values()))


class Source(ABC):
    """A stream of raw records."""

    slots: tuple[str, ...]
    """Slots that every record is expected to have."""

    in_order: bool = False
    """Whether media are cheap to read only in the order of the input."""

    media_folders: tuple[str, ...] = ()
    """Folders that the local files of all records must lie in; empty = the user named them."""

    folder: str = ""
    """The folder that was named as input, if not all of its files are read."""

    other_files: str = "that are not read"
    """What is true for the files of the folder that are not read."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return JSON-ready settings, with a digest of names and metadata.

        They are part of the fingerprint of the store.
        """

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Yield the records. The order is the same as long as the input is the same."""

    def notes(self) -> list[str]:
        """Return messages for the user about how the input is read."""
        return []

    def input_files(self) -> Iterator[str]:
        """Yield the files that are read, except media. They may not exist."""
        return iter(())

    def media_files(self) -> Iterator[str]:
        """Yield the files of media that the records refer to."""
        return iter(())
