"""JSON tables: an array of objects, `{"data": […]}`, or JSON lines. The content decides which."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.records import MAX_COLUMNS, check_columns, is_utf8
from mmfeat.sources.tables.formats.json_values import (
    DECODER,
    TOO_LONG,
    JsonValues,
    MalformedValue,
    OversizedValue,
    describe_error,
    has_too_many_values,
)
from mmfeat.sources.tables.formats.limits import MAX_RECORD_CHARACTERS
from mmfeat.sources.tables.formats.table import OversizedRow, Row, Table
from mmfeat.sources.tables.formats.text import LongLine, open_text, read_lines

_BREAKS_OFF = (OSError, EOFError, zlib.error, ValueError)
"""Errors of a file that cannot be read to its end."""

_CURE = 'Write an array of objects, {"data": […]}, or JSON lines: one object per line'


_SHOWN_MEMBERS = 20


def read_json(path: str) -> Table:
    """Open a `.json` file. Objects without an array around them are JSON lines."""
    return _open_table(path, _document_rows)


def read_json_lines(path: str) -> Table:
    """Open a file of JSON lines. If it holds an array, the array is read."""
    with open_text(path) as file:
        is_array = JsonValues(file).next_character() == "["
    return _open_table(path, _document_rows if is_array else _line_rows)


def _open_table(path: str, read: Callable[[str], Iterator[Row]]) -> Table:
    """Return the table of rows without a header. Any row may have a column of its own."""
    columns: dict[str, None] = {}
    error = ""
    try:
        for row in read(path):
            if isinstance(row, str):
                error = error or row
            elif not row:
                error = error or "an object without names"
            elif not row.keys() <= columns.keys():
                columns |= dict.fromkeys(row)
                check_columns(columns, path)
    except _BREAKS_OFF:
        if not columns:
            raise
        # Whoever reads the rows learns where they break off.
    if error and not columns:
        raise MmfeatError(f"no row of {path} is a JSON object with columns: {error}", cure=_CURE)
    return Table(path, list(columns), lambda _: read(path))


def _line_rows(path: str) -> Iterator[Row]:
    with open_text(path, newline="\n") as file:
        for number, line in enumerate(read_lines(file, ("\n",)), 1):
            if line.strip():
                yield _to_row(_decode_line(line), f"line {number}")


def _decode_line(line: str) -> Any:
    if isinstance(line, LongLine) or has_too_many_values(line):
        return OversizedValue(TOO_LONG)
    if not is_utf8(line):
        return MalformedValue("not UTF-8")
    try:
        return DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        return MalformedValue(describe_error(error))


def _document_rows(path: str) -> Iterator[Row]:
    with open_text(path) as file:
        values = JsonValues(file)
        if values.next_character() == "{":
            yield from _object_rows(values, path)
        elif values.next_character():
            yield from _element_rows(values)
            values.expect_end()


def _element_rows(values: JsonValues) -> Iterator[Row]:
    for number, row in enumerate(values.elements(), 1):
        yield _to_row(row, f"record {number}")


def _object_rows(values: JsonValues, path: str) -> Iterator[Row]:
    """Yield the elements of the array `data` of an object; without one, read JSON lines."""
    record: dict[str, Any] = {}
    kinds: dict[str, str] = {}
    malformed: MalformedValue | None = None
    for name in values.names():
        if name == "data" and values.next_character() == "[":
            yield from _element_rows(values)
            kinds[name] = "data"
        elif values.next_character() == "[":
            kinds[name] = f"an array of {_count(values.elements())}"
        else:
            value = values.value()
            kinds[name] = "an object" if isinstance(value, dict) else ""
            if values.position > MAX_RECORD_CHARACTERS:
                malformed = OversizedValue(TOO_LONG)
            elif isinstance(value, MalformedValue):
                malformed = value
            record[name] = None if malformed else value
        if len(kinds) > MAX_COLUMNS:
            raise _not_a_table(path, kinds)
    if "data" in kinds.values():
        values.expect_end()
    elif values.next_character():
        yield from _line_rows(path)
    elif any(kinds.values()):
        raise _not_a_table(path, kinds)
    else:
        yield _to_row(record if malformed is None else malformed, "record 1")


def _not_a_table(path: str, kinds: Mapping[str, str]) -> MmfeatError:
    """Return the error for a file of one object.

    Args:
        path: the file.
        kinds: name of each value of the object → what it is, if it is no scalar.
    """
    members = [
        f"{name} ({kind})" if kind else name for name, kind in islice(kinds.items(), _SHOWN_MEMBERS)
    ]
    more = [f"and {len(kinds) - len(members):,} more"] if len(kinds) > len(members) else []
    return MmfeatError(
        f"{path} is one JSON object, not a table of records; "
        f"it has: {', '.join([*members, *more])}",
        cure=f'{_CURE}; in pandas: to_json(orient="records")',
    )


def _to_row(value: Any, place: str) -> Row:
    if isinstance(value, dict):
        return value
    if isinstance(value, OversizedValue):
        return OversizedRow(f"{place}: {value}")
    if isinstance(value, MalformedValue):
        return f"{place}: {value}"
    shown = "an array" if isinstance(value, list) else str(value)[:80]
    return f"{place}: not a JSON object: {shown}"


def _count(items: Iterable[Any]) -> int:
    return sum(1 for _ in items)
