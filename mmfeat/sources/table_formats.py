"""Table formats: CSV, TSV, JSON, JSON lines and Parquet, read row by row.

To add a format, write a reader and add it to `TABLE_READERS`.
"""

import codecs
import csv
import io
import json
import posixpath
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

import fsspec
import ijson
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import MmfeatError
from mmfeat.store import files

Row = dict[str, Any] | str
"""Column → value, or an error message if the row cannot be parsed."""

TableReader = Callable[[str], tuple[list[str], Iterator[Row]]]
"""Path → column names and rows."""


@dataclass(frozen=True, slots=True)
class UnreadBytes:
    """Stands for bytes in a Parquet table, which are read later.

    Attributes:
        path: the path in Hugging Face's struct of bytes and path.
    """

    path: str | None = None


_BUFFER_BYTES = 1 << 16

_MAX_CELL_CHARACTERS = 512 << 20
"""Limit of a CSV cell: an unclosed quote must not use all memory."""

_SNIFFED_ROWS = 1000
"""Rows of JSON that are read to find the columns."""

_BATCH_ROWS = 1000


def read_column_names(path: str) -> list[str]:
    """Return the column names of a table.

    Raises:
        MmfeatError: the file does not exist, is not a table, or has no or repeated columns.
    """
    reader = _find_reader(path)
    try:
        columns = reader(path)[0]
    except FileNotFoundError:
        raise MmfeatError(
            f"no such file: {path}", cure="Name a table or a folder of images"
        ) from None
    except (pa.ArrowException, OSError, csv.Error, EOFError, zlib.error) as error:
        raise MmfeatError(f"{path} cannot be read as a table: {error}") from error
    if not columns:
        raise MmfeatError(f"{path} is empty: no header and no row")
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise MmfeatError(f"the columns of {path} must have different names", got=repeated[0])
    return columns


def read_rows(path: str) -> Iterator[Row]:
    """Yield the rows of a table.

    Raises:
        MmfeatError: the file cannot be read to its end.
    """
    number = 0
    try:
        for row in _find_reader(path)(path)[1]:
            yield row
            number += 1
    except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
        raise MmfeatError(
            f"{path} breaks off after {number} rows: {error}",
            cure="Repair the file or download it again",
        ) from error


def _find_reader(path: str) -> TableReader:
    name = path.lower().removesuffix(".gz").removesuffix(".zst")
    suffix = posixpath.splitext(name)[1]
    if suffix not in TABLE_READERS:
        raise MmfeatError(
            f"{path} must be a folder or end in one of {', '.join(TABLE_READERS)}, .tar", got=suffix
        )
    return TABLE_READERS[suffix]


def open_decompressed(path: str) -> IO[bytes]:
    """Open a file for reading; `.gz` and `.zst` are decompressed."""
    if path.lower().endswith(".zst"):
        # Arrow reads all frames and raises an error if the file is truncated.
        stream: Any = pa.CompressedInputStream(files.open_input(path), "zstd")
        return io.BufferedReader(stream, _BUFFER_BYTES)
    file: IO[bytes] = fsspec.open(path, "rb", compression="infer").open()
    return file


def _delimited_reader(separator: str) -> TableReader:
    def read(path: str) -> tuple[list[str], Iterator[Row]]:
        csv.field_size_limit(_MAX_CELL_CHARACTERS)
        text = io.TextIOWrapper(
            open_decompressed(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        reader = csv.reader(text, delimiter=separator, strict=True)
        header = next(reader, [])
        return header, _delimited_rows(reader, header, text)

    return read


def _delimited_rows(reader: Any, header: list[str], text: IO[str]) -> Iterator[Row]:
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


def _json_reader(read: Callable[[str], Iterator[Row]]) -> TableReader:
    """Return a reader for rows without a header: the first rows give the columns."""

    def read_table(path: str) -> tuple[list[str], Iterator[Row]]:
        columns: dict[str, None] = {}
        for row in islice(read(path), _SNIFFED_ROWS):
            if isinstance(row, dict):
                columns |= dict.fromkeys(row)
        return list(columns), read(path)

    return read_table


def _json_line_rows(path: str) -> Iterator[Row]:
    with open_decompressed(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                yield f"line {number}: {error}"
                continue
            yield row if isinstance(row, dict) else f"line {number}: not a JSON object"


def _json_array_rows(path: str) -> Iterator[Row]:
    """Yield the elements of a top-level array, or of the array `data` in a top-level object."""
    with open_decompressed(path) as file:
        start = file.read(4096)
    bom_bytes = len(codecs.BOM_UTF8) * start.startswith(codecs.BOM_UTF8)
    prefix = "item" if start[bom_bytes:].lstrip()[:1] == b"[" else "data.item"
    with open_decompressed(path) as file:
        file.read(bom_bytes)
        try:
            for row in ijson.items(file, prefix, use_float=True):
                yield row if isinstance(row, dict) else f"not a JSON object: {str(row)[:80]}"
        except (ijson.JSONError, ValueError) as error:
            yield f"the JSON breaks off here: {error}"


def _read_parquet(path: str) -> tuple[list[str], Iterator[Row]]:
    with open_decompressed(path) as file:
        columns = pq.read_schema(file).names
    return columns, _parquet_rows(path)


def _parquet_rows(path: str) -> Iterator[Row]:
    with open_decompressed(path) as file, pq.ParquetFile(file) as table:
        storage = {field.name: _bytes_storage(field.type) for field in table.schema_arrow}
        # Bytes are not read here; of a struct only the path is.
        columns = [
            name if how == "no" else f"{name}.path"
            for name, how in storage.items()
            if how != "bytes"
        ]
        unread = {name: UnreadBytes() for name, how in storage.items() if how != "no"}
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            if not columns:
                yield from ({**unread} for _ in range(batch.num_rows))
                continue
            for row in batch.to_pylist():
                structs = {
                    name: UnreadBytes((row[name] or {}).get("path"))
                    for name, how in storage.items()
                    if how == "struct"
                }
                yield {**row, **unread, **structs}


def _bytes_storage(type_: pa.DataType) -> str:
    """Return how a column stores bytes: `bytes`, `struct` of bytes and path, or `no`."""
    if pa.types.is_dictionary(type_):
        return _bytes_storage(type_.value_type)
    if (
        pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_binary_view(type_)
    ):
        return "bytes"
    if pa.types.is_struct(type_):
        children = {type_.field(i).name: type_.field(i).type for i in range(type_.num_fields)}
        if "path" in children and "bytes" in children:
            return "struct" if _bytes_storage(children["bytes"]) == "bytes" else "no"
    return "no"


TABLE_READERS: dict[str, TableReader] = {
    ".csv": _delimited_reader(","),
    ".tsv": _delimited_reader("\t"),
    ".jsonl": _json_reader(_json_line_rows),
    ".ndjson": _json_reader(_json_line_rows),
    ".json": _json_reader(_json_array_rows),
    ".parquet": _read_parquet,
}
"""File suffix → reader."""
