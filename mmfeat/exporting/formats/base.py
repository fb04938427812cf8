"""The interface of a format: it writes the files of one shard at a time."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from mmfeat.exporting.rows import ExportRows
from mmfeat.exporting.source import ExportSource
from mmfeat.store import RecordedFile, ShardAttempt


class ExportFormat(ABC):
    """Writes the rows of a store. A subclass checks in `__init__` that it can hold them.

    Args:
        source: the store.
        columns: columns without vectors, the key first.
        vectors: columns of vectors that the user named, or all.
        named: whether the user named them.

    Attributes:
        vectors: the columns of vectors that are written.
        left_out: column → why the format cannot hold it.
    """

    default_dtype: ClassVar[str] = ""
    """Type of the vectors for --dtype auto; empty = as stored."""

    def __init__(
        self, source: ExportSource, columns: Sequence[str], vectors: Sequence[str], *, named: bool
    ) -> None:
        self.source, self.columns = source, list(columns)
        self.vectors = list(vectors)
        self.left_out: dict[str, str] = {}
        self._named = named

    @abstractmethod
    def write(self, attempt: ShardAttempt, rows: ExportRows) -> Counter[str]:
        """Write the files of a shard, named `FOLDER/SHARD.EXTENSION`.

        Returns:
            Reason → rows that the format cannot hold.
        """

    def finish(self, output: str, records: int) -> dict[str, RecordedFile]:
        """Write the files of the whole export, and return them by name.

        Args:
            output: directory of the export.
            records: number of rows in it.
        """
        return {}

    @abstractmethod
    def usage(self, output: str) -> str:
        """Return a line that opens the export in another tool."""
