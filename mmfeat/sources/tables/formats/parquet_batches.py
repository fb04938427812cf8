"""Batches of a Parquet table of bounded memory: a small file may decode to any size.

A dictionary holds a text once, and a thousand rows may refer to it. The size of its page is
therefore read before the rows.
"""

from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.sources.tables.formats.limits import MAX_RECORD_CHARACTERS
from mmfeat.store import check_chunks, dictionary_bytes

_BATCH_ROWS = 1000
_BATCH_BYTES = 64 << 20
"""Most bytes of a batch, except that it has at least one row."""


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
        check_chunks(table, group)
        size = _batch_rows(file, table.metadata.row_group(group), columns)
        yield from table.iter_batches(size, row_groups=[group], columns=columns)


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
                dictionary_bytes(file, chunk),
            )
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, row_bytes)))
