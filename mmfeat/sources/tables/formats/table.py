"""What every table format gives: column names and rows."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any] | str
"""Column → value, or an error message if the row cannot be parsed."""


class OversizedRow(str):
    """The error of a row that exceeds a limit of `mmfeat.sources.tables.formats.limits`."""

    __slots__ = ()


@dataclass(frozen=True)
class Table:
    """One file of a table.

    Attributes:
        path: the file.
        columns: all column names.
        start: starts reading the rows. Its argument names columns that hold text even if the file
            stores them as bytes.
        bytes_columns: columns of bytes, which are not read here: their values are `UnreadBytes`.
        nested_bytes: columns with bytes inside lists or structs, which are not read at all.
        notes: messages for the user about how the file is read.
    """

    path: str
    columns: list[str]
    start: Callable[[Collection[str]], Iterator[Row]]
    bytes_columns: frozenset[str] = frozenset()
    nested_bytes: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnreadBytes:
    """Stands for bytes in a Parquet table, which are read later.

    Attributes:
        path: the path in Hugging Face's struct of bytes and path.
    """

    path: str | None = None
