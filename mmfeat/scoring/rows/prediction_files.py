"""The Parquet files of predictions: one per shard, or one per shard and value of a column.

data/00000.parquet                 all rows of the shard
data/label=cat/00000.parquet       its rows with the label cat (--partition-by label)
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.storage import files
from mmfeat.store import (
    Receipt,
    RunStoppedError,
    ShardAttempt,
    open_checked,
    read_format,
    read_parquet,
)

MAX_PARTITIONS = 1000
"""Values of a column per shard. Each of them is a file."""

_MAX_NAME = 200
_NULL = "__HIVE_DEFAULT_PARTITION__"
_TYPE = b"partition_type"
_TYPES = {
    str(kind): kind
    for kind in (
        *(pa.string(), pa.large_string(), pa.bool_()),
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    )
}
"""Metadata of a file in a partition: the type of the column, and the types it may have."""

_PLAIN_COLUMN = re.compile(r"[A-Za-z_][\w-]{0,99}", re.ASCII)

_CURE = "Choose another column, and another output directory"
"""The output of a run that has begun belongs to its column."""


def predictions_folder(store: str) -> str:
    """Return the folder of a store's Parquet files: all rows, and nothing else since format 2."""
    return files.join(store, folder) if (folder := data_folder(store)) else store


def data_folder(store: str) -> str:
    """Return the same folder, relative to the store."""
    return "" if read_format(store, "predictions") == 1 else "data"


def check_partition_column(column: str, kind: pa.DataType) -> None:
    """Check that a column can be part of the names of folders.

    Args:
        column: its name.
        kind: its type.

    Raises:
        MmfeatError: its name or values of its type cannot.
    """
    if not _PLAIN_COLUMN.fullmatch(column):
        raise MmfeatError(
            "--partition-by must name a column of ASCII letters, digits, - and _",
            got=column,
            cure="Choose another column, or rename it and shard again",
        )
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise MmfeatError(
            "--partition-by must name a column of texts, whole numbers or truth values",
            got=f"{column} of {kind}",
            cure="Choose another column",
        )


def write_rows(
    attempt: ShardAttempt, folder: str, shard: str, table: pa.Table, partition_by: str
) -> pa.Table:
    """Write the rows of a shard, and return them in the order of the files.

    Args:
        attempt: the attempt at the shard.
        folder: folder of the rows, relative to the store.
        shard: name of the shard.
        table: the rows.
        partition_by: column of the table whose values become folders; empty = none.

    Raises:
        RunStoppedError: the column has too many values, or values that are no names of folders.
    """
    if not partition_by:
        _write(attempt, files.join(folder, f"{shard}.parquet"), table)
        return table
    parts = []
    partitions = _find_partitions(table[partition_by], partition_by)
    for name, rows in sorted(partitions.items(), key=lambda pair: f"{pair[0]}/"):  # as paths sort
        part = table.take(pa.array(rows))
        path = files.join(folder, f"{partition_by}={name}", f"{shard}.parquet")
        facts = {**(part.schema.metadata or {}), _TYPE: str(table[partition_by].type)}
        rest = part.drop_columns([partition_by]).replace_schema_metadata(facts)
        _write(attempt, path, rest)
        parts.append(part)
    return pa.concat_tables(parts) if parts else table


def remove_partitions(store: str, folder: str, shard: str) -> None:
    """Remove the files of an earlier attempt, which may have had other values.

    Args:
        store: the store.
        folder: folder of the rows, relative to it.
        shard: name of the shard.
    """
    rows = files.join(store, folder)
    for name in files.list_names(rows):
        if "=" in name:
            files.remove_file(files.join(rows, name, f"{shard}.parquet"))


def _write(attempt: ShardAttempt, path: str, table: pa.Table) -> None:
    with attempt.create(path) as output:
        pq.write_table(table, output, compression="zstd")


def _find_partitions(column: pa.ChunkedArray, name: str) -> dict[str, np.ndarray]:
    """Return the rows of each folder: its value, encoded → int64, shape (n,)."""
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    values = encoded.dictionary.to_pylist()
    if len(values) > MAX_PARTITIONS:
        raise RunStoppedError(
            f"--partition-by must name a column with at most {MAX_PARTITIONS:,} values in a shard",
            got=f"{name} with {len(values):,}",
            cure=_CURE,
        )
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    numbers: dict[str, list[int]] = {}  # null and an empty text share a folder
    for number, value in enumerate(values):
        numbers.setdefault(_encode_value(value, name), []).append(number)
    folded: dict[str, str] = {}
    for text in numbers:
        other = folded.setdefault(text.casefold(), text)
        if other != text:
            raise RunStoppedError(
                "--partition-by must name a column whose values differ in more than their case, "
                "since some disks ignore it",
                got=f"{name} with {unquote(other)} and {unquote(text)}",
                cure=_CURE,
            )
    return {text: np.flatnonzero(np.isin(indices, found)) for text, found in numbers.items()}


def _encode_value(value: Any, column: str) -> str:
    """Return a value as Hive writes it into the name of a folder."""
    if value is None or value == "":
        return _NULL
    text = str(value).lower() if isinstance(value, bool) else str(value)
    name = quote(text, safe=" ").replace(" ", "%20").replace("~", "%7E")
    if name == _NULL:  # a text, not null
        name = f"%5F{name[1:]}"
    if len(column) + 1 + len(name) > _MAX_NAME:
        raise RunStoppedError(
            f"--partition-by must name a column whose values take at most {_MAX_NAME} characters "
            "in the name of a folder",
            got=f"{column} with {text[:40]!r}…",
            cure=_CURE,
        )
    return name


def read_rows(store: str, receipt: Receipt, columns: list[str] | None = None) -> pa.Table:
    """Read the predictions of a shard, with the column that they are partitioned by.

    Args:
        store: the store.
        receipt: the receipt of the shard.
        columns: the columns to read; None = all.

    Raises:
        DamagedFileError: a file is missing or damaged.
    """
    parts = [*_read_parts(store, receipt, columns)]
    if not parts:
        raise DamagedFileError(
            f"the receipt of shard {receipt.shard} must have files of rows", got=receipt.files
        )
    names = {tuple(part.column_names) for part in parts}
    try:
        if len(names) == 1:
            return pa.concat_tables(parts, promote_options="default")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        rule = f"the files of shard {receipt.shard} must have columns of the same types"
        raise DamagedFileError(rule, got=str(error)) from error
    raise DamagedFileError(f"the files of shard {receipt.shard} must have the same columns")


def _read_parts(store: str, receipt: Receipt, columns: list[str] | None) -> Iterator[pa.Table]:
    folder = data_folder(store)
    for name, info in sorted(receipt.files.items()):
        inner = name.removeprefix(f"{folder}/") if folder else name
        path = files.join(store, name)
        partition, _, file = inner.rpartition("/")
        if file != f"{receipt.shard}.parquet":
            rule = f"the receipt of shard {receipt.shard} must list files of its rows"
            raise DamagedFileError(rule, got=name)
        column, equals, text = partition.partition("=")
        wanted = columns
        if equals and columns is not None:
            wanted = [c for c in columns if c != column] or ["__key__"]
        with open_checked(path, info) as opened:
            table = read_parquet(path, wanted, file=opened)
        if equals and (columns is None or column in columns):
            value = None if text == _NULL else unquote(text)
            texts = pa.array([value] * len(table), pa.string())
            if column in table.column_names:
                rule = f"{path} must not have the column of its partition"
                raise DamagedFileError(rule, got=column)
            table = table.append_column(column, _restore_type(texts, table.schema, path))
        yield table if columns is None else table.select(columns)


def _restore_type(texts: pa.Array, schema: pa.Schema, path: str) -> pa.Array:
    """Return the values of a partition in the type that the column had."""
    kind = (schema.metadata or {}).get(_TYPE, b"string").decode(errors="replace")
    try:
        return texts.cast(_TYPES[kind])
    except (KeyError, pa.ArrowInvalid) as error:
        raise DamagedFileError(
            f"{path} must name a type of its partition that its value has", got=kind
        ) from error


def partition_column(receipt: Receipt) -> str:
    """Return the column that the rows of a shard are partitioned by; empty if they are not."""
    for name in receipt.files:
        inner = name.split("/")[1:-1]
        if inner and "=" in inner[0]:
            return inner[0].partition("=")[0]
    return ""
