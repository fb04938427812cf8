"""Read the cells of separated values, record by record."""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

_MAX_CELL_CHARACTERS = 512 << 20
_MAX_RECORD_LINES = 1 << 18
"""Limits of one record: a quote that never closes must not use all memory. Base64 of a file of
`--max-file-bytes` fits."""


@dataclass(frozen=True)
class Dialect:
    """How one file writes its cells.

    Attributes:
        separator: the character between cells.
        quoted: whether quotes around a cell are notation; otherwise they are part of the text.
        padded: whether the spaces around a cell are not part of it.
        first_line: lines before the header.
    """

    separator: str
    quoted: bool = True
    padded: bool = False
    first_line: int = 0

    def reader(self, lines: Iterator[str]) -> Any:
        """Return a reader of the cells of each record, from the csv module."""
        csv.field_size_limit(_MAX_CELL_CHARACTERS)
        return csv.reader(
            lines,
            delimiter=self.separator,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            skipinitialspace=self.padded,
            strict=True,
        )


class Lines:
    """The lines of a file. Those that a broken record has swallowed can be given back.

    Args:
        file: the text.

    Attributes:
        record: the lines of the current record.
        first: number of its first line, from 1.
        has_broken_quotes: whether its quotes do not fit its cells.
        number: lines read so far.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._given_back: deque[str] = deque()
        self.record: list[str] = []
        self.first = 1
        self.has_broken_quotes = False
        self.number = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        if len(self.record) >= _MAX_RECORD_LINES:
            raise csv.Error(f"a cell has more than {_MAX_RECORD_LINES} lines")
        line = self._given_back.popleft() if self._given_back else next(self._file)
        self.record.append(line)
        self.number += 1
        return line

    def start_record(self) -> None:
        """Start a record with the next line."""
        self.record = []
        self.first = self.number + 1
        self.has_broken_quotes = False

    def give_back(self, lines: Sequence[str]) -> None:
        """Give back the last lines that were read."""
        self._given_back.extendleft(reversed(lines))
        self.number -= len(lines)


def read_cells(lines: Lines, dialect: Dialect, width: int) -> Iterator[list[str] | str]:
    """Yield the cells of each record, or the error of a record that has not `width` cells.

    A broken record ends with its first line, and the next line begins a new record. So a stray
    quote makes one line malformed and swallows no other.
    """
    reader = dialect.reader(lines)
    while True:
        lines.start_record()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.has_broken_quotes = True
            lines.give_back(lines.record[1:])
            is_open = str(error) == "unexpected end of data"
            yield f"line {lines.first}: {'a quote opens and does not close' if is_open else error}"
            continue
        if dialect.padded:
            cells = [cell.strip(" ") for cell in cells]
        if len(cells) > width and not any(cells[width:]):
            del cells[width:]  # Excel writes empty cells to the end of the widest row
        if len(cells) == width:
            yield cells
        elif any(line.strip() for line in lines.record):
            lines.has_broken_quotes = len(lines.record) > 1
            lines.give_back(lines.record[1:])
            yield f"line {lines.first}: {len(cells)} cells, the header {width}"
