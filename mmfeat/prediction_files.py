"""The Parquet files of predictions: one per shard, or one per shard and value of a column.

data/00000.parquet                 all rows of the shard
data/label=cat/00000.parquet       its rows with the label cat (--partition-by label)
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.storage import files
from mmfeat.store import (
    Receipt,
    RecordedFile,
    RunStoppedError,
    ShardAttempt,
    iter_parquet,
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
    # A shard without rows has a file, too: readers get the columns from it.
    empty = {_NULL: np.empty(0, np.int64)}
    partitions = _find_partitions(table[partition_by], partition_by) or empty
    for name, rows in sorted(partitions.items(), key=lambda pair: f"{pair[0]}/"):  # as paths sort
        part = table.take(pa.array(rows))
        path = files.join(folder, f"{partition_by}={name}", f"{shard}.parquet")
        facts = {**(part.schema.metadata or {}), _TYPE: str(table[partition_by].type)}
        rest = part.drop_columns([partition_by]).replace_schema_metadata(facts)
        _write(attempt, path, rest)
        parts.append(part)
    return pa.concat_tables(parts)


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


def read_rows(store: str, receipt: Receipt, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the predictions of a shard, with the column that they are partitioned by.

    Args:
        store: the store.
        receipt: the receipt of the shard.
        columns: the columns to read; None = all.

    Raises:
        DamagedFileError: a file is missing or damaged.
    """
    parts = []
    for part in _list_parts(store, receipt, columns):
        with open_checked(part.path, part.info) as file:
            parts.append(part.complete(read_parquet(part.path, part.stored, file=file)))
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


def iter_rows(
    store: str, receipt: Receipt, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Read the predictions of a shard batch by batch; arguments and errors as in `read_rows`."""
    for part in _list_parts(store, receipt, columns):
        with open_checked(part.path, part.info) as file:
            for batch in iter_parquet(part.path, part.stored, file=file):
                yield part.complete(pa.Table.from_batches([batch]))


@dataclass(frozen=True)
class _Part:
    """A file of a shard.

    Attributes:
        path: the file.
        info: what the receipt records of it.
        column: the column whose value its folder names; empty if it is in no partition.
        value: the value in the name of the folder.
        columns: the columns to read; None = all.
    """

    path: str
    info: RecordedFile
    column: str
    value: str | None
    columns: Sequence[str] | None

    @property
    def stored(self) -> Sequence[str] | None:
        """The columns to read from the file; None = all."""
        if not self.column or self.columns is None:
            return self.columns
        return [name for name in self.columns if name != self.column] or ["__key__"]

    def complete(self, table: pa.Table) -> pa.Table:
        """Return rows of the file with the column of the partition."""
        if self.column and (self.columns is None or self.column in self.columns):
            if self.column in table.column_names:
                rule = f"{self.path} must not have the column of its partition"
                raise DamagedFileError(rule, got=self.column)
            texts = pa.array([self.value] * len(table), pa.string())
            values = _restore_type(texts, table.schema, self.path)
            table = table.append_column(self.column, values)
        return table if self.columns is None else table.select(list(self.columns))


def _list_parts(store: str, receipt: Receipt, columns: Sequence[str] | None) -> Iterator[_Part]:
    folder = data_folder(store)
    for name, info in sorted(receipt.files.items()):
        inner = name.removeprefix(f"{folder}/") if folder else name
        partition, _, file = inner.rpartition("/")
        if file != f"{receipt.shard}.parquet":
            rule = f"the receipt of shard {receipt.shard} must list files of its rows"
            raise DamagedFileError(rule, got=name)
        column, equals, text = partition.partition("=")
        value = None if text == _NULL else unquote(text)
        path = files.join(store, name)
        yield _Part(path, info, column if equals else "", value, columns)


def _restore_type(texts: pa.Array, schema: pa.Schema, path: str) -> pa.Array:
    """Return the values of a partition in the type that the column had."""
    kind = (schema.metadata or {}).get(_TYPE, b"string").decode(errors="replace")
    try:
        return texts.cast(_TYPES[kind])
    except (KeyError, pa.ArrowInvalid) as error:
        raise DamagedFileError(
            f"{path} must name a type of its partition that its value has", got=kind
        ) from error
