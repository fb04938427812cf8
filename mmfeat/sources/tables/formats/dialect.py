"""Find out how a file of separated values writes its cells: from its first lines and its quotes."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice

from mmfeat.records import check_columns, is_utf8
from mmfeat.sources.tables.formats.cells import Dialect, EndlessQuotesError, Lines, read_cells
from mmfeat.sources.tables.formats.limits import MAX_HEADER_CHARACTERS
from mmfeat.sources.tables.formats.text import LongLine, open_text, read_lines

_SEPARATORS = (",", ";", "\t", "|")

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""The line before the header by which Excel tells the separator."""

_NAMES = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}


@dataclass
class QuoteSurvey:
    """What the quotes of a file say about its dialect. Line numbers count from 1; 0 = none.

    Attributes:
        proof: cells that need their quotes or, among commas, have quotes that open and close.
        violations: lines with a quote at the start of a cell that does not close at its end.
        first_violation: line of the first one.
        first_swallowed: first line of a quoted cell whose lines all look like records.
        first_undecoded: first line that is not UTF-8.
    """

    proof: int = 0
    violations: int = 0
    first_violation: int = 0
    first_swallowed: int = 0
    first_undecoded: int = 0


@contextmanager
def start_reading(path: str, dialect: Dialect) -> Iterator[tuple[Lines, list[str]]]:
    """Return the lines after the header, and the names in the header."""
    with open_text(path) as file:
        lines = Lines(file)
        for _ in range(dialect.first_line):
            next(lines)
        lines.start_record()
        header: list[str] = next(replace(dialect, quoted=True).reader(lines), [])
        check_columns(header, path)
        yield lines, header


def find_dialect(path: str, default_separator: str) -> tuple[Dialect, list[str]]:
    """Return the dialect of a file, and notes for the user about what is unusual.

    The first lines give the separator and the padding. The quotes of the whole file decide whether
    they are notation: if there are more violations than proofs, they are text.
    """
    dialect = _read_start(path, default_separator)
    notes = []
    if dialect.separator != default_separator:
        notes.append(
            f"its cells are separated by {_NAMES.get(dialect.separator, dialect.separator)}"
        )
    if dialect.padded:
        notes.append("spaces around its cells are left out")
    with start_reading(path, dialect) as (lines, header):
        header_line = lines.record[0] if header else ""
        survey = _survey_quotes(lines, dialect, len(header))
    if survey.violations > survey.proof and not _quoted_cells(dialect).search(header_line):
        dialect = replace(dialect, quoted=False)
        notes.append(
            f"its quotes are read as text: the one in line {survey.first_violation} opens a cell "
            "and does not close it"
        )
    elif dialect.separator == "\t" and survey.proof:
        notes.append("its quotes are read as quotes around cells, as pandas writes them")
    if dialect.quoted and survey.first_swallowed:
        notes.append(
            f"the quoted cell in line {survey.first_swallowed} holds lines that look like records; "
            "if they are, remove its quotes"
        )
    undecoded = survey.first_undecoded if is_utf8(header_line) else dialect.first_line + 1
    if undecoded:
        notes.append(
            f"line {undecoded} is not UTF-8; such values are left out. Save the table "
            "as UTF-8 to keep them"
        )
    return dialect, notes


def _read_start(path: str, default_separator: str) -> Dialect:
    with open_text(path) as file:
        start = list(islice(_nonblank(read_lines(file)), 3))
    first_line = start[0][0] if start else 0
    texts = [line for _, line in start]
    if texts and (len(texts[0]) > MAX_HEADER_CHARACTERS or isinstance(texts[0], LongLine)):
        raise csv.Error(f"its header has more than {MAX_HEADER_CHARACTERS:,} characters")
    if texts and (match := _SEPARATOR_LINE.fullmatch(texts[0])):
        separator, texts, first_line = match[1], texts[1:], start[1][0] if start[1:] else 0
    else:
        separator = _find_separator(texts[:2], default_separator)
    padded = any(_is_padded(line, separator) for line in texts[:2])
    return Dialect(separator, padded=padded, first_line=first_line)


def _nonblank(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(lines) if line.strip())


def _find_separator(lines: Sequence[str], default: str) -> str:
    """Return the separator by which header and first record have the same number of cells."""
    separators = (default, *(s for s in _SEPARATORS if s != default))
    widths = {
        separator: [len(next(csv.reader([line], delimiter=separator), [])) for line in lines]
        for separator in separators
    }
    several = [separator for separator in separators if widths[separator][:1] > [1]]
    equal = (separator for separator in several if len(set(widths[separator])) == 1)
    return next(equal, several[0] if several else default)


def _is_padded(line: str, separator: str) -> bool:
    """Return whether a space follows each separator, or stands before each.

    A line of blank cells proves nothing.
    """
    number = 0 if not line.replace(separator, "").strip() else line.count(separator)
    return number > 0 and number in (line.count(f"{separator} "), line.count(f" {separator}"))


def _quoted_cells(dialect: Dialect) -> re.Pattern[str]:
    """Return a pattern for the start of a quoted cell."""
    space = " *" if dialect.padded else ""
    return re.compile(f'(?:^|{re.escape(dialect.separator)}){space}"')


def _survey_quotes(lines: Lines, dialect: Dialect, width: int) -> QuoteSurvey:
    survey = QuoteSurvey()
    try:
        _survey_records(survey, lines, dialect, width)
    except EndlessQuotesError:
        survey.violations = max(survey.violations, survey.proof + 1)
        survey.first_violation = survey.first_violation or lines.first
    return survey


def _survey_records(survey: QuoteSurvey, lines: Lines, dialect: Dialect, width: int) -> None:
    quoted_cell = _quoted_cells(dialect)
    is_tab = dialect.separator == "\t"
    records = read_cells(lines, dialect, width)
    while line := lines.next_line():
        if not survey.first_undecoded and not is_utf8(line):
            survey.first_undecoded = lines.number
        if '"' not in line or isinstance(line, LongLine):
            lines.start_record()
            continue
        lines.give_back([line])
        cells = next(records)
        record, number, is_broken = lines.record, lines.first, lines.has_broken_quotes
        lines.start_record()
        text = record[0] if len(record) == 1 else "".join(record)
        if not survey.first_undecoded and not is_utf8(text):
            undecoded = next(place for place, line in enumerate(record) if not is_utf8(line))
            survey.first_undecoded = number + undecoded
        if isinstance(cells, list) and _looks_like_records(record, dialect, width):
            survey.first_swallowed = survey.first_swallowed or number
            is_broken = is_tab or len(record) > 2
        if is_broken:
            survey.violations += 1
            survey.first_violation = survey.first_violation or number
        elif isinstance(cells, list) and quoted_cell.search(text):
            has_separator = any(dialect.separator in cell for cell in cells)
            survey.proof += not is_tab or len(record) > 1 or '""' in text or has_separator


def _looks_like_records(lines: Sequence[str], dialect: Dialect, width: int) -> bool:
    """Return whether each of the lines of one record has all cells of a record."""
    separators = width - 1
    return (
        len(lines) > 1
        and width > 1
        and all(line.count(dialect.separator) == separators for line in lines)
    )
