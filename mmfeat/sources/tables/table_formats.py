"""Open a table in any format: CSV, TSV, JSON, JSON lines and Parquet.

To add a format, write a reader in `mmfeat.sources.tables.formats` and add it to `TABLE_READERS`.
"""

import csv
import posixpath
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator

import pyarrow as pa

from mmfeat.errors import MmfeatError
from mmfeat.records import check_columns
from mmfeat.sources.tables.formats import (
    Row,
    Table,
    read_csv,
    read_json,
    read_json_lines,
    read_parquet,
    read_tsv,
)
from mmfeat.storage import did_you_mean_path, files

_UNREADABLE = (pa.ArrowException, OSError, EOFError, zlib.error, csv.Error, ValueError)


def open_table(path: str) -> Table:
    """Open a table.

    Raises:
        MmfeatError: the file does not exist, is not a table, or has no, repeated or too many
            columns.
    """
    reader = _find_reader(path)
    try:
        table = reader(path)
    except FileNotFoundError:
        raise MmfeatError(
            f"no such file: {path}",
            cure=did_you_mean_path(path) or "Name a table or a folder of images",
        ) from None
    except _UNREADABLE as error:
        raise MmfeatError(f"{path} cannot be read as a table: {error}") from error
    columns = table.columns
    if not columns:
        raise MmfeatError(f"{path} is empty: no header and no row")
    check_columns(columns, path)
    repeated = sorted(name for name, number in Counter(columns).items() if number > 1)
    if repeated:
        raise MmfeatError(f"the columns of {path} must have different names", got=repeated[0])
    return table


def read_rows(table: Table, text_columns: Collection[str] = ()) -> Iterator[Row]:
    """Yield the rows of a table.

    Args:
        table: the table.
        text_columns: columns that hold text even if the file stores them as bytes.

    Raises:
        MmfeatError: the file cannot be read to its end.
    """
    number = 0
    try:
        for row in table.start(text_columns):
            yield row
            number += 1
    except _UNREADABLE as error:
        raise MmfeatError(
            f"{table.path} breaks off after {number} rows: {error}",
            cure="Repair the file or download it again",
        ) from error


def _find_reader(path: str) -> Callable[[str], Table]:
    name = path.lower().removesuffix(".gz").removesuffix(".zst")
    suffix = posixpath.splitext(name)[1]
    if suffix not in TABLE_READERS:
        if not files.exists(path):
            raise MmfeatError(f"no such file or folder: {path}", cure=did_you_mean_path(path))
        raise MmfeatError(
            f"{path} must be a folder or end in one of {', '.join(TABLE_READERS)}, .tar", got=suffix
        )
    return TABLE_READERS[suffix]


TABLE_READERS: dict[str, Callable[[str], Table]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".parquet": read_parquet,
}
"""File suffix → reader."""
