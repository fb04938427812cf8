"""Bound the size of a Parquet table before it is decoded: a small file may decode to any size.

A run of equal values takes a few bytes, whatever its length. A dictionary holds a text once, and a
thousand rows may refer to it.
"""

from collections.abc import Collection
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmfeat.store.parquet.footer import open_parquet

MAX_ROWS = 1 << 27
"""Rows of a table."""

MAX_BYTES = 4 << 30
"""Bytes of the texts of a column."""

_PAGE_HEADER_BYTES = 16


def check_sizes(file: IO[bytes], table: pq.ParquetFile, columns: Collection[str]) -> None:
    """Check that a table can be decoded with bounded memory.

    Args:
        file: its file.
        table: the table.
        columns: the columns to read; empty = all.

    Raises:
        pa.ArrowInvalid: it has more than `MAX_ROWS` rows, a column has more than `MAX_BYTES` bytes
            of texts, or a part of its file is damaged.
    """
    if (rows := count_rows(table)) > MAX_ROWS:
        raise pa.ArrowInvalid(f"it has {rows:,} rows, more than {MAX_ROWS:,}")
    large = set()
    for number in range(table.num_row_groups):
        check_chunks(table, number)
        group = table.metadata.row_group(number)
        for chunk in map(group.column, range(group.num_columns)):
            name = chunk.path_in_schema.partition(".")[0]
            is_read = name in columns or not columns
            if is_read and dictionary_bytes(file, chunk) * group.num_rows > MAX_BYTES:
                large.add(name)
    for name in large:
        _check_texts(file, name)


def _check_texts(file: IO[bytes], column: str) -> None:
    """Add up the bytes of a column of texts without decoding its dictionary for each row."""
    size = 0
    for batch in open_parquet(file, read_dictionary=[column]).iter_batches(
        columns=[column], use_threads=False
    ):
        texts = batch.column(0)
        if not pa.types.is_dictionary(texts.type):
            raise pa.ArrowInvalid(f"the values of {column!r} repeat too often")
        lengths = pc.binary_length(texts.dictionary)
        size += pc.sum(lengths.take(texts.indices)).as_py() or 0
        if size > MAX_BYTES:
            raise pa.ArrowInvalid(f"its column {column!r} has more than {MAX_BYTES:,} bytes")


def count_rows(table: pq.ParquetFile) -> int:
    """Return the number of rows that a reader of all row groups gets."""
    metadata = table.metadata
    return sum(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))


def check_chunks(table: pq.ParquetFile, group: int) -> None:
    """Raise an error for damaged column chunks, without decoding any of their values.

    The metadata of a damaged chunk end the process, if they are asked for directly.
    """
    columns = range(table.metadata.row_group(group).num_columns)
    for _ in table.reader.iter_batches(
        0, row_groups=[group], column_indices=[*columns], use_threads=False
    ):
        pass


def dictionary_bytes(file: IO[bytes], chunk: pq.ColumnChunkMetaData) -> int:
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
