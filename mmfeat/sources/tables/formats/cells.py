"""Read the cells of separated values, record by record."""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from mmfeat.sources.tables.formats.limits import MAX_RECORD_CHARACTERS, MAX_RECORD_LINES
from mmfeat.sources.tables.formats.table import OversizedRow
from mmfeat.sources.tables.formats.text import LongLine, read_lines

csv.field_size_limit(MAX_RECORD_CHARACTERS)

_REREAD_CHARACTERS = 64 << 20
_REREAD_RATIO = 8
"""Limit of the characters that are read again after broken records: a constant, and a multiple of
those read. Quotes of which each opens where the last one closes would be read again for ever."""

_LINE_CHARACTERS = 64
"""Cost of a line in characters, besides its own."""


class OversizedRecordError(csv.Error):
    """A record has more characters than the limit."""

    def __init__(self) -> None:
        super().__init__(f"a record has more than {MAX_RECORD_CHARACTERS:,} characters")


class EndlessQuotesError(csv.Error):
    """Records whose quotes do not close make it too slow to read on."""

    def __init__(self) -> None:
        super().__init__("too many quotes open and do not close; write the table again")


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
        self._lines = read_lines(file)
        self._given_back: deque[str] = deque()
        self.record: list[str] = []
        self.first = 1
        self.has_broken_quotes = False
        self.number = 0
        self._record_characters = self._characters = self._reread = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        if len(self.record) >= MAX_RECORD_LINES:
            raise csv.Error(f"a cell has more than {MAX_RECORD_LINES} lines")
        line = self.next_line()
        if not line:
            raise StopIteration
        if isinstance(line, LongLine) or self._record_characters > MAX_RECORD_CHARACTERS:
            raise OversizedRecordError
        return line

    def next_line(self) -> str:
        """Return the next line, whatever its length; empty at the end of the file."""
        line = self._given_back.popleft() if self._given_back else next(self._lines, "")
        if line:
            self.record.append(line)
            self.number += 1
            self._record_characters += len(line)
            self._characters += len(line) + _LINE_CHARACTERS
        return line

    def start_record(self) -> None:
        """Start a record with the next line."""
        self.record = []
        self.first = self.number + 1
        self.has_broken_quotes = False
        self._record_characters = 0

    def give_back(self, lines: Sequence[str]) -> None:
        """Give back the last lines that were read.

        Raises:
            EndlessQuotesError: too many lines have been read again.
        """
        self._given_back.extendleft(reversed(lines))
        self.number -= len(lines)
        characters = sum(map(len, lines)) + _LINE_CHARACTERS * len(lines)
        self._reread += characters
        self._characters -= characters
        if self._reread > _REREAD_CHARACTERS + _REREAD_RATIO * self._characters:
            raise EndlessQuotesError


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
        except OversizedRecordError as error:
            lines.give_back(lines.record[1:])
            yield OversizedRow(f"line {lines.first}: {error}")
            continue
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
