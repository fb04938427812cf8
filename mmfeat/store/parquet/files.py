"""Read Parquet files that mmfeat wrote. An error about one names the file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import DamagedFileError
from mmfeat.storage import files
from mmfeat.store.parquet.footer import open_parquet
from mmfeat.store.parquet.sizes import check_sizes, count_rows

_TEXTS = ("__key__", "status", "reason", "error")
"""Columns of mmfeat that hold texts in every table. Users' columns have other names."""

_BATCH_ROWS = 4096
_SHOWN_CHARACTERS = 200


@contextmanager
def damage_errors(path: str, rule: str) -> Iterator[None]:
    """Raise the errors of Arrow about a file as a `DamagedFileError`. Others pass.

    Args:
        path: the file.
        rule: what it must be, such as `a valid Parquet file`.
    """
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:  # also names that are not UTF-8
        raise damaged(path, rule, str(error)) from error
    except OSError as error:
        if error.errno:
            raise  # of the file system
        raise damaged(path, rule, str(error)) from error


def damaged(path: str, rule: str, got: object) -> DamagedFileError:
    """Return an error: the file must be what the rule says."""
    text = " ".join(str(got).split())[:_SHOWN_CHARACTERS]
    return DamagedFileError(f"{path} must be {rule}", got=text, cure=files.RESTORE)


def read_parquet(
    path: str,
    columns: Sequence[str] | None = None,
    *,
    file: IO[bytes] | None = None,
    texts: Sequence[str] = (),
    rows: int | None = None,
) -> pa.Table:
    """Read a table.

    Args:
        path: the file.
        columns: columns to read; None = all.
        file: the open file, to read instead of opening the path.
        texts: columns that must hold texts, besides those that do in every table.
        rows: number of rows that the table must have; None = any.

    Raises:
        DamagedFileError: the file is no valid Parquet file, lacks a column, or a column has another
            type, or it has another number of rows.
    """
    with _open(path, columns or (), file, texts) as table:
        if rows is not None and (found := count_rows(table)) != rows:
            raise damaged(path, f"a table of {rows:,} rows", f"{found:,} rows")
        names = list(columns) if columns is not None else None
        content = table.read(columns=names, use_threads=False)
    _check_texts(path, content, texts)
    return content


def iter_parquet(
    path: str,
    columns: Sequence[str] | None = None,
    *,
    file: IO[bytes] | None = None,
    texts: Sequence[str] = (),
    batch_rows: int = _BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Read a table batch by batch; arguments and errors as in `read_parquet`."""
    with _open(path, columns or (), file, texts) as table:
        names = list(columns) if columns is not None else None
        for batch in table.iter_batches(batch_size=batch_rows, columns=names, use_threads=False):
            _check_texts(path, batch, texts)
            yield batch


def read_parquet_schema(path: str, file: IO[bytes] | None = None) -> pa.Schema:
    """Read the schema of a table; arguments and errors as in `read_parquet`."""
    with _open(path, (), file) as table:
        return table.schema_arrow


@contextmanager
def _open(
    path: str, columns: Sequence[str], file: IO[bytes] | None, texts: Sequence[str] = ()
) -> Iterator[pq.ParquetFile]:
    with (
        damage_errors(path, "a valid Parquet file"),
        file or files.open_input(path) as source,
        open_parquet(source) as table,
    ):
        schema = table.schema_arrow
        if len({*schema.names}) < len(schema):
            raise damaged(path, "a table of distinct columns", schema.names)
        if missing := [name for name in columns if name not in schema.names]:
            raise damaged(path, f"a table with the column {missing[0]!r}", schema.names)
        for name in {*_TEXTS, *texts} & {*schema.names}:
            if not _is_text(schema.field(name).type):
                rule = f"a table whose column {name!r} has texts"
                raise damaged(path, rule, schema.field(name).type)
        check_sizes(source, table, columns)
        yield table


def _is_text(type_: pa.DataType) -> bool:
    value_type = type_.value_type if pa.types.is_dictionary(type_) else type_
    return any(
        check(value_type)
        for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    )


def _check_texts(path: str, rows: pa.Table | pa.RecordBatch, texts: Sequence[str]) -> None:
    """Check that keys and status are there, and that all required texts are UTF-8."""
    with damage_errors(path, "a valid Parquet file"):
        for name in sorted({*_TEXTS, *texts} & {*rows.schema.names}):
            rows.column(name).validate(full=True)
    for name in ("__key__", "status"):
        if name in rows.schema.names and rows.column(name).null_count:
            raise damaged(path, f"a table without null in {name!r}", "null")
