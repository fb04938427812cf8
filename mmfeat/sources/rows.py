"""Rows of a table, streamed: each a mapping column → value, or a text that says what is wrong."""

import csv
import io
import json
import posixpath
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import MmfeatError

Row = dict[str, Any] | str
"""A row's values, or why the row cannot be parsed."""

_COLUMNS_SEEN = 1000
"""JSON lines looked at to learn the columns."""


def read_columns(path: str) -> list[str]:
    """Names of a table's columns.

    Raises:
        MmfeatError: no such file, not a table that can be read, or no header.
    """
    reader = _reader(path)
    try:
        columns = reader(path)[0]
    except FileNotFoundError:
        raise MmfeatError(
            f"no such file: {path}", cure="Name a table or a folder of pictures"
        ) from None
    except (pa.ArrowException, OSError, csv.Error, EOFError) as error:
        raise MmfeatError(f"{path} cannot be read as a table: {error}") from error
    if not columns:
        raise MmfeatError(f"{path} is empty: no header and no row")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise MmfeatError(f"each column of {path} needs a name of its own", got=twice[0])
    return columns


def read_rows(path: str) -> Iterator[Row]:
    """The rows of a table, one at a time."""
    return _reader(path)(path)[1]


def _reader(path: str) -> Callable[[str], tuple[list[str], Iterator[Row]]]:
    name = path.lower().removesuffix(".gz").removesuffix(".zst")
    suffix = posixpath.splitext(name)[1]
    if suffix not in TABLE_FORMATS:
        raise MmfeatError(
            f"{path} must end in one of {', '.join(TABLE_FORMATS)}, or be a folder", got=suffix
        )
    return TABLE_FORMATS[suffix]


def _open(path: str) -> IO[bytes]:
    file: IO[bytes] = fsspec.open(path, "rb", compression="infer").open()
    return file


def _delimited(separator: str) -> Callable[[str], tuple[list[str], Iterator[Row]]]:
    def read(path: str) -> tuple[list[str], Iterator[Row]]:
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        text = io.TextIOWrapper(
            _open(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        reader = csv.reader(text, delimiter=separator)
        header = next(reader, [])
        return header, _rows(reader, header, text)

    def _rows(reader: Any, header: list[str], text: IO[str]) -> Iterator[Row]:
        with text:
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield f"line {reader.line_num}: {error}"
                    continue
                if len(cells) == len(header):
                    yield dict(zip(header, cells, strict=True))
                elif cells:
                    yield f"line {reader.line_num}: {len(cells)} cells, the header {len(header)}"

    return read


def _json_lines(path: str) -> tuple[list[str], Iterator[Row]]:
    columns: dict[str, None] = {}
    for number, row in enumerate(_json_rows(path)):
        if number == _COLUMNS_SEEN:
            break
        if isinstance(row, dict):
            columns |= dict.fromkeys(row)
    return list(columns), _json_rows(path)


def _json_rows(path: str) -> Iterator[Row]:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                yield f"line {number}: {error}"
                continue
            yield row if isinstance(row, dict) else f"line {number}: not a JSON object"


def _parquet(path: str) -> tuple[list[str], Iterator[Row]]:
    with _open(path) as file:
        columns = pq.read_schema(file).names
    return columns, _parquet_rows(path)


def _parquet_rows(path: str) -> Iterator[Row]:
    with _open(path) as file, pq.ParquetFile(file) as table:
        for batch in table.iter_batches(batch_size=1000):
            yield from batch.to_pylist()


TABLE_FORMATS = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}
"""Suffix → reader: a path's columns, and its rows."""
