"""Feature columns: one Arrow IPC file a shard, uncompressed, read by memory map.

Row i of every column in shard NNNNN is row i of samples/NNNNN.parquet. A column file has four
fields: `feature` (`arrow.fixed_shape_tensor` of float16, null where there is none), `status`
(`ok`, `missing`, `failed`), `reason` and `error`. They stand beside the vector, and not in
samples/, so that a column can be added without touching what is there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat import storage
from mmfeat.store import read_manifest

SAMPLES = "samples"
"""Folder of the samples table, beside the folders of the columns."""


def column_schema(dim: int) -> pa.Schema:
    """Schema of a pooled feature column of `dim` values."""
    return pa.schema(
        [
            pa.field("feature", pa.fixed_shape_tensor(pa.float16(), [dim])),
            pa.field("status", pa.string(), nullable=False),
            pa.field("reason", pa.string()),
            pa.field("error", pa.string()),
        ]
    )


@dataclass(frozen=True)
class Outcome:
    """What became of one record in one column."""

    status: str
    reason: str | None = None
    error: str | None = None


OK = Outcome("ok")


def column_batch(features: np.ndarray, outcomes: Sequence[Outcome]) -> pa.RecordBatch:
    """Rows of a column file; a feature whose outcome is not `ok` becomes null.

    Args:
        features: shape (rows, dim); rows without a feature hold zeros.
        outcomes: one a row.
    """
    dim = features.shape[1]
    schema = column_schema(dim)
    values = pa.array(np.ascontiguousarray(features, dtype=np.float16).reshape(-1))
    absent = pa.array([outcome.status != "ok" for outcome in outcomes], pa.bool_())
    lists = pa.FixedSizeListArray.from_arrays(values, dim, mask=absent)
    tensor = pa.ExtensionArray.from_storage(schema.field("feature").type, lists)
    words = [
        pa.array([getattr(outcome, name) for outcome in outcomes], pa.string())
        for name in ("status", "reason", "error")
    ]
    return pa.record_batch([tensor, *words], schema=schema)


@dataclass(frozen=True)
class Column:
    """A feature column of a store: what made it and what its vectors look like."""

    name: str
    modality: str
    dim: int
    fingerprint: str
    encoder: dict[str, Any]


@dataclass(frozen=True)
class ColumnShard:
    """One shard of a column.

    Attributes:
        features: float16, shape (rows, dim); zeros where `present` is false.
        present: bool, shape (rows,).
        reasons: strings; why a row has no feature, null where it has one.
    """

    features: np.ndarray
    present: np.ndarray
    reasons: pa.ChunkedArray


def read_column(path: str) -> ColumnShard:
    """Read a column file; local ones are mapped, not copied."""
    if storage.is_local(path):
        with pa.memory_map(storage.filesystem(path)[1]) as file:
            table = pa.ipc.open_file(file).read_all()
    else:
        with storage.open_input(path) as file:
            table = pa.ipc.open_file(pa.BufferReader(file.read())).read_all()
    dim = table.schema.field("feature").type.shape[0]
    parts = [_to_numpy(chunk.storage, dim) for chunk in table["feature"].chunks]
    features = parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, dim), "f2"), *parts])
    present = table["feature"].is_valid().to_numpy()
    return ColumnShard(features, present, table["reason"])


def _to_numpy(lists: pa.FixedSizeListArray, dim: int) -> np.ndarray:
    """The values below a fixed-size list array, null rows included: shape (rows, dim)."""
    values = lists.values.to_numpy(zero_copy_only=True).reshape(-1, dim)
    return values[lists.offset : lists.offset + len(lists)]


class FeatureStore:
    """A finished feature store, read shard by shard.

    Args:
        path: the directory `mmfeat extract` wrote.

    Raises:
        MmfeatError: no finished feature store at the path.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.manifest = read_manifest(path, "features")

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Column name → column."""
        return {name: Column(**facts) for name, facts in self.manifest["columns"].items()}

    @cached_property
    def shards(self) -> dict[str, int]:
        """Shard name → records in it, in order."""
        return {shard["name"]: shard["records"] for shard in self.manifest["shards"]}

    @property
    def records(self) -> int:
        """Records in the whole store."""
        return sum(self.shards.values())

    @cached_property
    def samples_schema(self) -> pa.Schema:
        """Schema of the samples table: `__key__`, `status`, `reason`, `error` and metadata."""
        shard = next(iter(self.shards))
        with storage.open_input(self._samples_path(shard)) as file:
            return pq.read_schema(file)

    def read_samples(self, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The samples table of a shard, all of it or some columns."""
        with storage.open_input(self._samples_path(shard)) as file:
            return pq.read_table(file, columns=list(columns) if columns is not None else None)

    def read_column(self, column: str, shard: str) -> ColumnShard:
        """One shard of a feature column."""
        return read_column(storage.join(self.path, column, f"{shard}.arrow"))

    def read(self, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, ColumnShard]]]:
        """Shard by shard, the named columns side by side."""
        for shard in self.shards:
            yield shard, {column: self.read_column(column, shard) for column in columns}

    def _samples_path(self, shard: str) -> str:
        return storage.join(self.path, SAMPLES, f"{shard}.parquet")
