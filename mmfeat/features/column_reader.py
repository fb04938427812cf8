"""Read one shard of a feature column. Local files are memory-mapped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mmfeat.features.arrow_blocks import has_compressed_batch
from mmfeat.features.column_format import FeatureShape, column_schema
from mmfeat.storage import files
from mmfeat.store import RecordedFile, check_file, damage_errors, damaged, open_checked


@dataclass(frozen=True)
class ColumnShard:
    """One shard of a column.

    Attributes:
        features: float16 or float32, shape (rows, dim); zeros where `present` is false. Of a token
            column: shape (all tokens, dim); row i has the tokens offsets[i] to offsets[i + 1].
        present: bool, shape (rows,).
        reasons: strings, one per row: why it has no feature. Null if it has one.
        offsets: int64, shape (rows + 1,). None = one vector per row.
    """

    features: np.ndarray
    present: np.ndarray
    reasons: pa.ChunkedArray
    offsets: np.ndarray | None = None

    def vectors(self, row: int) -> np.ndarray:
        """Return the feature of a row: shape (dim,), or (tokens, dim)."""
        if self.offsets is None:
            return self.features[row]
        return self.features[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: np.ndarray, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
        """Return some rows in the form a model reads.

        Args:
            rows: int64, shape (n,).
            max_tokens: the column's; 0 for one vector per row.

        Returns:
            features, shape (n, dim), or (n, max_tokens, dim) padded with zeros; and a bool mask
            of the present vectors, shape (n,), or (n, max_tokens).
        """
        if self.offsets is None:
            return self.features[rows], self.present[rows]
        starts, counts = self.offsets[rows], np.diff(self.offsets)[rows]
        mask = np.arange(max_tokens) < counts[:, None]
        features = np.zeros((len(rows), max_tokens, self.features.shape[1]), self.features.dtype)
        features[mask] = self.features[(starts[:, None] + np.arange(max_tokens))[mask]]
        return features, mask


def read_column_file(path: str, info: RecordedFile, shape: FeatureShape) -> ColumnShard:
    """Read a column file.

    Args:
        path: the file.
        info: what its receipt records of it.
        shape: shape of the column's features.

    Raises:
        DamagedFileError: the file has other bytes than its receipt records, or it is not a valid
            Arrow file of that shape.
    """
    if files.is_local(path):
        check_file(path, info)
        with pa.memory_map(files.filesystem(path)[1]) as file:
            table = _read_table(file, path, column_schema(shape))
    else:
        with open_checked(path, info) as file:
            table = _read_table(pa.BufferReader(file.read()), path, column_schema(shape))
    with damage_errors(path, "a valid Arrow file"):
        return to_column_shard(table, shape)


def to_column_shard(table: pa.Table, shape: FeatureShape) -> ColumnShard:
    """Return the rows of a column as arrays.

    Args:
        table: rows of the schema `column_schema(shape)`.
        shape: shape of the column's features.
    """
    chunks = table["feature"].chunks
    tensors = [chunk.flatten() if shape.max_tokens else chunk for chunk in chunks]
    parts = [_to_numpy(tensor.storage, shape.dim) for tensor in tensors]
    empty = np.empty((0, shape.dim), shape.dtype)
    features = parts[0] if len(parts) == 1 else np.concatenate([empty, *parts])
    present = table["feature"].is_valid().to_numpy()
    offsets: np.ndarray | None = None
    if shape.max_tokens:
        counts = [chunk.value_lengths().fill_null(0).to_numpy() for chunk in chunks]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([[], *counts]))]).astype(np.int64)
    return ColumnShard(features, present, table["reason"], offsets)


def read_reasons(path: str, names: Sequence[str] = ("status", "reason")) -> pa.Table:
    """Read only `status` and `reason` of a column file: why a row has no feature.

    Args:
        path: the file.
        names: the fields to read; `error` has the details.

    Raises:
        DamagedFileError: it is not a valid Arrow file with these columns.
    """
    with files.open_input(path) as file:
        return _read_table(file, path, column_schema(FeatureShape(1)), names)


def _read_table(source: Any, path: str, schema: pa.Schema, names: Sequence[str] = ()) -> pa.Table:
    """Read an Arrow file and check it whole, so that no value leads out of a buffer.

    Args:
        source: the open file.
        path: its path, for errors.
        schema: the schema it must have.
        names: the fields to read and to compare; all by default.
    """
    indices = [schema.get_field_index(name) for name in names or schema.names]
    options = pa.ipc.IpcReadOptions(included_fields=indices)
    schema = pa.schema([schema.field(index) for index in indices])
    with damage_errors(path, "a valid Arrow file"):
        reader = pa.ipc.open_file(source, options=options)
        if has_compressed_batch(source):
            raise damaged(path, "an uncompressed Arrow file", "compressed batches")
        if not reader.schema.equals(schema):
            raise damaged(path, f"an Arrow file of {_describe(schema)}", _describe(reader.schema))
        table = reader.read_all()
        table.validate(full=True)
    return table


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def _to_numpy(vectors: pa.FixedSizeListArray, dim: int) -> np.ndarray:
    """Return the values of a fixed-size list array, null rows included: shape (rows, dim)."""
    values = vectors.values.to_numpy(zero_copy_only=True).reshape(-1, dim)
    return values[vectors.offset : vectors.offset + len(vectors)]
