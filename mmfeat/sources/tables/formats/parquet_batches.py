"""Batches of a Parquet table of bounded memory: a small file may decode to any size.

A dictionary holds a text once, and a thousand rows may refer to it. The size of its page is
therefore read before the rows.
"""

from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.sources.tables.formats.limits import MAX_RECORD_CHARACTERS

_BATCH_ROWS = 1000
_BATCH_BYTES = 64 << 20
"""Most bytes of a batch, except that it has at least one row."""

_PAGE_HEADER_BYTES = 16


def iterate_batches(
    file: IO[bytes], table: pq.ParquetFile, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table in batches.

    Args:
        file: the file of the table.
        table: the table.
        columns: columns to read; `a.b` is the part b of the struct a.
    """
    for group in range(table.num_row_groups):
        _check_chunks(table, group)
        size = _batch_rows(file, table.metadata.row_group(group), columns)
        yield from table.iter_batches(size, row_groups=[group], columns=columns)


def _check_chunks(table: pq.ParquetFile, group: int) -> None:
    """Raise an error for damaged column chunks, without decoding any of their values.

    The metadata of a damaged chunk end the process, if they are asked for directly.
    """
    columns = range(table.metadata.row_group(group).num_columns)
    for _ in table.reader.iter_batches(0, row_groups=[group], column_indices=[*columns]):
        pass


def find_oversized(batch: pa.RecordBatch) -> dict[int, str]:
    """Return row → column of the rows with a value that is too large."""
    found: dict[int, str] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()  # every value counts, not the dictionary
        if column.nbytes > MAX_RECORD_CHARACTERS:
            for row in range(len(column)):
                if column.slice(row, 1).nbytes > MAX_RECORD_CHARACTERS:
                    found.setdefault(row, name)
    return found


def _batch_rows(file: IO[bytes], group: pq.RowGroupMetaData, columns: Sequence[str]) -> int:
    """Return the number of rows of which a batch takes at most `_BATCH_BYTES`."""
    row_bytes = 0
    for number in range(group.num_columns):
        chunk = group.column(number)
        name = chunk.path_in_schema
        if chunk.total_uncompressed_size * _BATCH_ROWS > _BATCH_BYTES and any(
            name == column or name.startswith(f"{column}.") for column in columns
        ):
            row_bytes += max(
                chunk.total_uncompressed_size // max(1, group.num_rows),
                _dictionary_bytes(file, chunk),
            )
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, row_bytes)))


def _dictionary_bytes(file: IO[bytes], chunk: pq.ColumnChunkMetaData) -> int:
    """Return the size of the dictionary of a column chunk, which no value exceeds; 0 without one.

    The header of its page begins with two fields in Thrift's compact protocol: type and size. Each
    is the byte 0x15 (the next field, an integer of 32 bits) and a number in 7-bit groups.
    """
    if not chunk.has_dictionary_page or chunk.physical_type not in (
        "BYTE_ARRAY",
        "FIXED_LEN_BYTE_ARRAY",
    ):
        return 0
    file.seek(chunk.dictionary_page_offset)
    header = file.read(_PAGE_HEADER_BYTES)
    if header[:1] != b"\x15" or header[2:3] != b"\x15":
        return int(chunk.total_uncompressed_size)
    size = shift = 0
    for byte in header[3:]:
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return size >> 1  # zigzag: the last bit is the sign
