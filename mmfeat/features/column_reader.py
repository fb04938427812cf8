"""Read one shard of a feature column. Local files are memory-mapped."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mmfeat.features.column_format import FeatureShape, column_schema
from mmfeat.store import files


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


def read_column_file(path: str) -> ColumnShard:
    """Read a column file."""
    if files.is_local(path):
        with pa.memory_map(files.filesystem(path)[1]) as file:
            table = pa.ipc.open_file(file).read_all()
    else:
        with files.open_input(path) as file:
            table = pa.ipc.open_file(pa.BufferReader(file.read())).read_all()
    feature_type = table.schema.field("feature").type
    has_tokens = pa.types.is_list(feature_type)
    tensor_type = feature_type.value_type if has_tokens else feature_type
    dim = tensor_type.shape[0]
    dtype = np.float16 if tensor_type.value_type == pa.float16() else np.float32
    chunks = table["feature"].chunks
    tensors = [chunk.flatten() if has_tokens else chunk for chunk in chunks]
    parts = [_to_numpy(tensor.storage, dim) for tensor in tensors]
    features = parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, dim), dtype), *parts])
    present = table["feature"].is_valid().to_numpy()
    offsets: np.ndarray | None = None
    if has_tokens:
        counts = [chunk.value_lengths().fill_null(0).to_numpy() for chunk in chunks]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([[], *counts]))]).astype(np.int64)
    return ColumnShard(features, present, table["reason"], offsets)


def read_reasons(path: str) -> pa.Table:
    """Read only `status` and `reason` of a column file: why a row has no feature."""
    schema = column_schema(FeatureShape(1))
    indices = [schema.get_field_index(name) for name in ("status", "reason")]
    options = pa.ipc.IpcReadOptions(included_fields=indices)
    with files.open_input(path) as file:
        return pa.ipc.open_file(file, options=options).read_all()


def _to_numpy(vectors: pa.FixedSizeListArray, dim: int) -> np.ndarray:
    """Return the values of a fixed-size list array, null rows included: shape (rows, dim)."""
    values = vectors.values.to_numpy(zero_copy_only=True).reshape(-1, dim)
    return values[vectors.offset : vectors.offset + len(vectors)]
