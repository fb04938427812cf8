"""Feature columns: one Arrow IPC file a shard, uncompressed, read by memory map.

Row i of every column in shard NNNNN is row i of samples/NNNNN.parquet. A column file has four
fields: `feature` (`arrow.fixed_shape_tensor` of float16 or float32, or a list of them for an
encoder of tokens; null where there is none), `status` (`ok`, `missing`, `failed`), `reason` and
`error`. They stand beside the vector, and not in samples/, so that a column can be added without
touching what is there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.store import files
from mmfeat.store.directory import read_manifest
from mmfeat.store.retried import Superseded

SAMPLES = "samples"
"""Folder of the samples table, beside the folders of the columns."""


@dataclass(frozen=True)
class Shape:
    """What the features of a column look like.

    Attributes:
        dim: length of one vector.
        dtype: `float16` or `float32`.
        max_tokens: 0 for one vector a record, else the most vectors a record has.
    """

    dim: int
    dtype: str = "float16"
    max_tokens: int = 0


def column_schema(shape: Shape) -> pa.Schema:
    """Schema of a feature column."""
    values = {"float16": pa.float16(), "float32": pa.float32()}[shape.dtype]
    kind = pa.fixed_shape_tensor(values, [shape.dim])
    return pa.schema(
        [
            pa.field("feature", pa.list_(kind) if shape.max_tokens else kind),
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


def column_batch(
    features: Sequence[np.ndarray | None], outcomes: Sequence[Outcome], shape: Shape
) -> pa.RecordBatch:
    """Rows of a column file.

    Args:
        features: a row each, shape (dim,), or (tokens, dim) of tokens; None where there is none.
        outcomes: one a row.
        shape: of the column.
    """
    schema = column_schema(shape)
    kind = schema.field("feature").type
    feature = _lists(features, shape, kind) if shape.max_tokens else _tensor(features, shape, kind)
    words = [
        pa.array([getattr(outcome, name) for outcome in outcomes], pa.string())
        for name in ("status", "reason", "error")
    ]
    return pa.record_batch([feature, *words], schema=schema)


def _tensor(features: Sequence[np.ndarray | None], shape: Shape, kind: pa.DataType) -> pa.Array:
    values = np.zeros((len(features), shape.dim), shape.dtype)
    for row, feature in enumerate(features):
        if feature is not None:
            values[row] = feature
    absent = pa.array([feature is None for feature in features], pa.bool_())
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), shape.dim, mask=absent)
    return pa.ExtensionArray.from_storage(kind, lists)


def _lists(features: Sequence[np.ndarray | None], shape: Shape, kind: pa.DataType) -> pa.Array:
    counts = [0 if feature is None else len(feature) for feature in features]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    tokens = [feature for feature in features if feature is not None]
    values = np.concatenate([np.empty((0, shape.dim), shape.dtype), *tokens]).astype(shape.dtype)
    inner = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), shape.dim)
    tensors = pa.ExtensionArray.from_storage(kind.value_type, inner)
    absent = pa.array([feature is None for feature in features], pa.bool_())
    lists = pa.ListArray.from_arrays(pa.array(offsets), inner, mask=absent)
    return pa.ListArray.from_arrays(lists.offsets, tensors, type=kind, mask=absent)


@dataclass(frozen=True)
class Column:
    """A feature column of a store: what made it and what its vectors look like."""

    name: str
    modality: str
    dim: int
    fingerprint: str
    encoder: dict[str, Any]
    dtype: str = "float16"
    max_tokens: int = 0

    @property
    def title(self) -> str:
        """What its features are, for a person to read."""
        scheme, name = self.encoder.get("scheme"), str(self.encoder.get("name", ""))
        if scheme and name != scheme:
            name = f"{scheme}:{name or str(self.encoder.get('weights'))[:12]}"
        size = f"{self.dim} x {self.dtype}"
        if self.max_tokens:
            size = f"up to {self.max_tokens} tokens of {size}"
        precision = self.encoder.get("precision")
        return f"{size}, {name}{f' in {precision}' if precision else ''}"

    @property
    def shape(self) -> Shape:
        """What its features look like."""
        return Shape(self.dim, self.dtype, self.max_tokens)


@dataclass(frozen=True)
class ColumnShard:
    """One shard of a column.

    Attributes:
        features: float16 or float32, shape (rows, dim); zeros where `present` is false. Of tokens
            shape (all tokens, dim), and row i has those from offsets[i] to offsets[i + 1].
        present: bool, shape (rows,).
        reasons: strings; why a row has no feature, null where it has one.
    """

    features: np.ndarray
    present: np.ndarray
    reasons: pa.ChunkedArray
    offsets: np.ndarray | None = None

    def take(self, rows: np.ndarray, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
        """Some rows as a model takes them.

        Args:
            rows: int64, shape (n,).
            max_tokens: the column's; 0 for one vector a record.

        Returns:
            features, shape (n, dim), or (n, max_tokens, dim) of tokens with zeros behind the last
            one; and what is there of them, bool, shape (n,), or (n, max_tokens).
        """
        if self.offsets is None:
            return self.features[rows], self.present[rows]
        starts, counts = self.offsets[rows], np.diff(self.offsets)[rows]
        there = np.arange(max_tokens) < counts[:, None]
        features = np.zeros((len(rows), max_tokens, self.features.shape[1]), self.features.dtype)
        features[there] = self.features[(starts[:, None] + np.arange(max_tokens))[there]]
        return features, there


def read_column(path: str) -> ColumnShard:
    """Read a column file; local ones are mapped, not copied."""
    if files.is_local(path):
        with pa.memory_map(files.filesystem(path)[1]) as file:
            table = pa.ipc.open_file(file).read_all()
    else:
        with files.open_input(path) as file:
            table = pa.ipc.open_file(pa.BufferReader(file.read())).read_all()
    kind = table.schema.field("feature").type
    tokens = pa.types.is_list(kind)
    tensor = kind.value_type if tokens else kind
    dim = tensor.shape[0]
    empty = np.float16 if tensor.value_type == pa.float16() else np.float32
    chunks = table["feature"].chunks
    stored = [chunk.flatten() if tokens else chunk for chunk in chunks]
    parts = [_to_numpy(chunk.storage, dim) for chunk in stored]
    features = parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, dim), empty), *parts])
    present = table["feature"].is_valid().to_numpy()
    offsets: np.ndarray | None = None
    if tokens:
        counts = [chunk.value_lengths().fill_null(0).to_numpy() for chunk in chunks]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([[], *counts]))]).astype(np.int64)
    return ColumnShard(features, present, table["reason"], offsets)


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
        """Rows of the whole store, superseded ones included."""
        return sum(self.shards.values())

    @cached_property
    def superseded(self) -> Superseded:
        """Tells rows whose records have another one, since they were tried again."""
        return Superseded(files.join(self.path, SAMPLES), self.manifest["shards"])

    @cached_property
    def samples_schema(self) -> pa.Schema:
        """Schema of the samples table: `__key__`, `status`, `reason`, `error` and metadata."""
        shard = next(iter(self.shards))
        with files.open_input(self._samples_path(shard)) as file:
            return pq.read_schema(file)

    def read_samples(self, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The samples table of a shard, all of it or some columns."""
        with files.open_input(self._samples_path(shard)) as file:
            return pq.read_table(file, columns=list(columns) if columns is not None else None)

    def read_column(self, column: str, shard: str) -> ColumnShard:
        """One shard of a feature column."""
        return read_column(files.join(self.path, column, f"{shard}.arrow"))

    def read(self, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, ColumnShard]]]:
        """Shard by shard, the named columns side by side."""
        for shard in self.shards:
            yield shard, {column: self.read_column(column, shard) for column in columns}

    def _samples_path(self, shard: str) -> str:
        return files.join(self.path, SAMPLES, f"{shard}.parquet")
