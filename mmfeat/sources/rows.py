"""Rows of a table, streamed: each a mapping column → value, or a text that says what is wrong."""

import codecs
import csv
import io
import json
import posixpath
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import fsspec
import ijson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from mmfeat.errors import MmfeatError
from mmfeat.store import files

Row = dict[str, Any] | str
"""A row's values, or why the row cannot be parsed."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """Stands in a row for bytes in a Parquet table, which are not read with the row.

    Attributes:
        path: what Hugging Face's struct says beside its bytes.
    """

    path: str | None = None


_PACKED_BYTES = 1 << 14

_MAX_CELL = 512 << 20
"""Characters of a cell of CSV; a quote that never closes must not take all memory."""

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
    except (
        pa.ArrowException, OSError, csv.Error, EOFError, zlib.error, zstandard.ZstdError
    ) as error:  # fmt: skip
        raise MmfeatError(f"{path} cannot be read as a table: {error}") from error
    if not columns:
        raise MmfeatError(f"{path} is empty: no header and no row")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise MmfeatError(f"each column of {path} needs a name of its own", got=twice[0])
    return columns


def read_rows(path: str) -> Iterator[Row]:
    """The rows of a table, one at a time.

    Raises:
        MmfeatError: the file cannot be read to its end.
    """
    number = 0
    try:
        for row in _reader(path)(path)[1]:
            yield row
            number += 1
    except (pa.ArrowException, OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise MmfeatError(
            f"{path} breaks off after {number} rows: {error}", cure="Mend the file or fetch it anew"
        ) from error


def _reader(path: str) -> Callable[[str], tuple[list[str], Iterator[Row]]]:
    name = path.lower().removesuffix(".gz").removesuffix(".zst")
    suffix = posixpath.splitext(name)[1]
    if suffix not in TABLE_FORMATS:
        raise MmfeatError(
            f"{path} must be a folder or end in one of {', '.join(TABLE_FORMATS)}, .tar", got=suffix
        )
    return TABLE_FORMATS[suffix]


def open_unpacked(path: str) -> IO[bytes]:
    """The bytes of a file, `.gz` and `.zst` undone."""
    if path.lower().endswith(".zst"):
        return io.BufferedReader(_Zstandard(files.open_input(path)), 1 << 16)
    file: IO[bytes] = fsspec.open(path, "rb", compression="infer").open()
    return file


class _Zstandard(io.RawIOBase):
    """All frames of a compressed file; zstandard's own reader takes a cut one for its end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            packed = self._packed or self._file.read(_PACKED_BYTES)
            if not packed and self._frame:
                raise EOFError("the compressed file is cut off")
            if not packed:
                return 0
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._ready, self._packed = self._frame.decompress(packed), b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def _delimited(separator: str) -> Callable[[str], tuple[list[str], Iterator[Row]]]:
    def read(path: str) -> tuple[list[str], Iterator[Row]]:
        csv.field_size_limit(_MAX_CELL)
        text = io.TextIOWrapper(
            open_unpacked(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        reader = csv.reader(text, delimiter=separator, strict=True)
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
    with open_unpacked(path) as file:
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
    with open_unpacked(path) as file:
        columns = pq.read_schema(file).names
    return columns, _parquet_rows(path)


def _parquet_rows(path: str) -> Iterator[Row]:
    with open_unpacked(path) as file, pq.ParquetFile(file) as table:
        held = {field.name: _holds_bytes(field.type) for field in table.schema_arrow}
        # Of a struct its path alone is read; a lone column of bytes not at all.
        wanted = [n if how == "no" else f"{n}.path" for n, how in held.items() if how != "bytes"]
        nothing = {name: Bytes() for name, how in held.items() if how != "no"}
        for batch in table.iter_batches(batch_size=1000, columns=wanted):
            if not wanted:
                yield from ({**nothing} for _ in range(batch.num_rows))
                continue
            for row in batch.to_pylist():
                structs = {
                    name: Bytes((row[name] or {}).get("path"))
                    for name, how in held.items()
                    if how == "struct"
                }
                yield {**row, **nothing, **structs}


def _holds_bytes(kind: pa.DataType) -> str:
    """`bytes`, `struct` for one of bytes and path, or `no`."""
    if pa.types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "bytes"
    if pa.types.is_struct(kind):
        names = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
        if "path" in names and "bytes" in names and _holds_bytes(names["bytes"]) == "bytes":
            return "struct"
    return "no"


def _json_array(path: str) -> tuple[list[str], Iterator[Row]]:
    columns: dict[str, None] = {}
    for number, row in enumerate(_array_rows(path)):
        if number == _COLUMNS_SEEN:
            break
        if isinstance(row, dict):
            columns |= dict.fromkeys(row)
    return list(columns), _array_rows(path)


def _array_rows(path: str) -> Iterator[Row]:
    """Elements of the array that a .json file is, or of the first one in its outer object."""
    with open_unpacked(path) as file:
        start = file.read(4096)
    marked = start.startswith(codecs.BOM_UTF8)
    first = start[len(codecs.BOM_UTF8) * marked :].lstrip()[:1]
    with open_unpacked(path) as file:
        file.read(len(codecs.BOM_UTF8) * marked)
        try:
            for row in ijson.items(file, "item" if first == b"[" else "data.item", use_float=True):
                yield row if isinstance(row, dict) else f"not a JSON object: {str(row)[:80]}"
        except (ijson.JSONError, ValueError) as error:
            yield f"the JSON breaks off here: {error}"


TABLE_FORMATS = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_array,
    ".parquet": _parquet,
}
"""Suffix → reader: a path's columns, and its rows."""
