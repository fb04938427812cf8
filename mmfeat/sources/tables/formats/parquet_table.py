"""Parquet tables. Bytes are not read here, except short text that is stored as bytes."""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from mmfeat.records import rows_to_python
from mmfeat.sources.tables.formats.limits import MAX_RECORD_CHARACTERS
from mmfeat.sources.tables.formats.parquet_batches import find_oversized, iterate_batches
from mmfeat.sources.tables.formats.table import OversizedRow, Row, Table, UnreadBytes
from mmfeat.storage import files
from mmfeat.store import open_parquet

_SNIFFED_ROWS = 4
"""Rows that are read at a time to see whether bytes are text. Media may have megabytes."""
_SNIFFED_BATCHES = 250
_BUFFER_BYTES = 1 << 16


def read_parquet(path: str) -> Table:
    """Open a Parquet file."""
    with (
        files.open_decompressed(path) as file,
        open_parquet(file, buffer_size=_BUFFER_BYTES) as table,
    ):
        schema = table.schema_arrow
        kinds = {field.name: _kind(field.type) for field in schema}
        texts = {name for name, kind in kinds.items() if kind == "bytes" and _is_text(table, name)}
    unread = frozenset(name for name, kind in kinds.items() if kind in ("bytes", "struct")) - texts

    def rows(text_columns: Collection[str]) -> Iterator[Row]:
        return _read_rows(path, kinds, texts.union(text_columns))

    nested = frozenset(name for name, kind in kinds.items() if kind == "nested")
    return Table(path, schema.names, rows, unread, nested)


def _read_rows(path: str, kinds: dict[str, str], texts: Collection[str]) -> Iterator[Row]:
    texts = [name for name in texts if kinds.get(name) == "bytes"]
    structs = [name for name, kind in kinds.items() if kind == "struct"]
    unread = {
        name: UnreadBytes() for name, kind in kinds.items() if kind == "bytes" and name not in texts
    }
    # Of a struct, only the path is read.
    columns = [name for name, kind in kinds.items() if kind == "value"]
    columns += [*texts, *(f"{name}.path" for name in structs)]
    with files.open_decompressed(path) as file, open_parquet(file) as table:
        for number, row in enumerate(_read_values(file, table, columns)):
            if isinstance(row, OversizedRow):
                yield OversizedRow(f"row {number}: {row}")
            else:
                for name in texts:
                    if row[name] is not None:
                        row[name] = row[name].decode(errors="surrogateescape")
                paths = {name: UnreadBytes(_struct_path(row[name])) for name in structs}
                yield {**row, **unread, **paths}


def _read_values(
    file: IO[bytes], table: pq.ParquetFile, columns: Sequence[str]
) -> Iterator[dict[str, Any] | OversizedRow]:
    """Yield the values of each row, or why they are not read."""
    for batch in iterate_batches(file, table, columns):
        oversized = find_oversized(batch)
        if oversized:
            batch = batch.filter(pa.array([row not in oversized for row in range(len(batch))]))
        values = iter(rows_to_python(batch) if columns else [{}] * len(batch))
        for row in range(len(batch) + len(oversized)):
            if row in oversized:
                limit = f"more than {MAX_RECORD_CHARACTERS:,} bytes"
                yield OversizedRow(f"{limit} in column {oversized[row]!r}")
            else:
                yield next(values)


def _struct_path(value: Any) -> str | None:
    """Return the path in a struct of bytes and path. It may be text that is stored as bytes."""
    path = value.get("path") if value else None
    if isinstance(path, bytes):
        path = path.decode(errors="surrogateescape")
    return path if isinstance(path, str) else None


def _kind(type_: pa.DataType) -> str:
    """Return how a column is stored.

    `value`; `bytes`; `struct` of bytes and path; or `nested`: bytes somewhere inside.
    """
    if pt.is_dictionary(type_):
        return _kind(type_.value_type)
    if (
        pt.is_binary(type_)
        or pt.is_large_binary(type_)
        or pt.is_binary_view(type_)
        or pt.is_fixed_size_binary(type_)
    ):
        return "bytes"
    if pt.is_struct(type_):
        kinds = {
            child.name: _kind(child.type) for child in map(type_.field, range(type_.num_fields))
        }
        if "path" in kinds and kinds.get("bytes") == "bytes":
            return "struct"
        return "value" if {*kinds.values()} <= {"value"} else "nested"
    items = [type_.key_type, type_.item_type] if pt.is_map(type_) else []
    items += [type_.value_type] if hasattr(type_, "value_type") else []
    return "value" if all(_kind(item) == "value" for item in items) else "nested"


def _is_text(table: pq.ParquetFile, column: str) -> bool:
    """Return whether the first values of a column of bytes are text. Hive stores text as bytes."""
    batches = table.iter_batches(_SNIFFED_ROWS, columns=[column])
    for batch in islice(batches, _SNIFFED_BATCHES):
        if values := [value for value in batch.column(0).to_pylist() if value]:
            return all(map(_is_printable, values))
    return False


def _is_printable(value: bytes) -> bool:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char.isspace() for char in text)
