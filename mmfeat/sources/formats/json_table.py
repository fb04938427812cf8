"""JSON tables: an array of objects, `{"data": […]}`, or JSON lines. The content decides which."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.records import is_utf8
from mmfeat.sources.formats.json_values import (
    DECODER,
    JsonValues,
    MalformedValue,
    describe_error,
)
from mmfeat.sources.formats.table import Row, Table
from mmfeat.sources.formats.text import open_text

_BREAKS_OFF = (OSError, EOFError, zlib.error, ValueError)
"""Errors of a file that cannot be read to its end."""

_CURE = 'Write an array of objects, {"data": […]}, or JSON lines: one object per line'


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
    except _BREAKS_OFF:
        if not columns:
            raise
        # Whoever reads the rows learns where they break off.
    if error and not columns:
        raise MmfeatError(f"no row of {path} is a JSON object with columns: {error}", cure=_CURE)
    return Table(path, list(columns), lambda _: read(path))


def _line_rows(path: str) -> Iterator[Row]:
    with open_text(path, newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = DECODER.decode(line) if is_utf8(line) else MalformedValue("not UTF-8")
            except (ValueError, RecursionError) as error:
                row = MalformedValue(describe_error(error))
            yield _to_row(row, f"line {number}")


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
    for name in values.names():
        if name == "data" and values.next_character() == "[":
            yield from _element_rows(values)
            kinds[name] = "data"
        elif values.next_character() == "[":
            kinds[name] = f"an array of {_count(values.elements())}"
        else:
            record[name] = values.value()
            kinds[name] = "an object" if isinstance(record[name], dict) else ""
    if "data" in kinds.values():
        values.expect_end()
    elif values.next_character():
        yield from _line_rows(path)
    elif any(kinds.values()):
        members = ", ".join(f"{name} ({kind})" if kind else name for name, kind in kinds.items())
        raise MmfeatError(
            f"{path} is one JSON object, not a table of records; it has: {members}",
            cure=f'{_CURE}; in pandas: to_json(orient="records")',
        )
    else:
        yield record


def _to_row(value: Any, place: str) -> Row:
    if isinstance(value, dict):
        return value
    if isinstance(value, MalformedValue):
        return f"{place}: {value}"
    return f"{place}: not a JSON object: {str(value)[:80]}"


def _count(items: Iterable[Any]) -> int:
    return sum(1 for _ in items)
