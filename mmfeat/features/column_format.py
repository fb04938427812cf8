"""The file format of a feature column: one uncompressed Arrow IPC file per shard.

    feature   arrow.fixed_shape_tensor of float16 or float32, or a list of such tensors for a
              token column; null if the row has no feature
    status    ok, missing or failed
    reason    why the row has no feature
    error     details for a person

Row i of NNNNN.arrow is row i of samples/NNNNN.parquet. The status is stored beside the vector, so
a new column never changes existing files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta

from mmfeat.errors import DamagedFileError
from mmfeat.storage import Name, Size, check_value


@dataclass(frozen=True)
class FeatureShape:
    """Shape and dtype of the features of a column.

    Attributes:
        dim: length of one vector.
        dtype: `float16` or `float32`.
        max_tokens: 0 for one vector per row, else the largest number of vectors per row.
    """

    dim: int
    dtype: str = "float16"
    max_tokens: int = 0


@dataclass(frozen=True)
class RowStatus:
    """Status of one row of a column, with the reason if it has no feature."""

    status: str
    reason: str | None = None
    error: str | None = None


OK = RowStatus("ok")

Dtype = Annotated[str, Meta(pattern=r"\A(float16|float32)\Z")]
MaxTokens = Annotated[int, Meta(ge=0, le=1 << 16)]
"""Largest number of vectors per row. Encoders of tokens give at most 4,096."""


@dataclass(frozen=True)
class Column:
    """Description of a feature column: its encoder and the shape of its features."""

    name: Name
    modality: str
    dim: Size
    fingerprint: str
    encoder: dict[str, Any]
    dtype: Dtype = "float16"
    max_tokens: MaxTokens = 0

    @property
    def shape(self) -> FeatureShape:
        """Shape of the features."""
        return FeatureShape(self.dim, self.dtype, self.max_tokens)

    @property
    def slot(self) -> str:
        """The part of a record that the encoder reads: `text`, or `text.desc`."""
        return str(self.encoder.get("slot", self.modality))

    @property
    def label(self) -> str:
        """The name, with the slot if it is another: `desc (text.desc)`."""
        return self.name if self.name == self.slot else f"{self.name} ({self.slot})"

    @property
    def facts(self) -> dict[str, Any]:
        """What distinguishes the features of this column, for people."""
        sizes = {"dim": self.dim} | ({"max_tokens": self.max_tokens} if self.max_tokens else {})
        return {**sizes, **self.encoder}

    @property
    def summary(self) -> str:
        """Shape and encoder in one line, for display."""
        scheme, name = self.encoder.get("scheme"), str(self.encoder.get("name", ""))
        if scheme and name != scheme:
            name = f"{scheme}:{name or str(self.encoder.get('weights'))[:12]}"
        size = f"{self.dim} x {self.dtype}"
        if self.max_tokens:
            size = f"up to {self.max_tokens} tokens of {size}"
        precision = self.encoder.get("precision")
        return f"{size}, {name}{f' in {precision}' if precision else ''}"


def parse_columns(descriptions: Mapping[str, Any], path: str) -> dict[str, Column]:
    """Return the columns that a document describes: name → column.

    Args:
        descriptions: name → description, from a manifest.
        path: the manifest, for errors.

    Raises:
        DamagedFileError: a description is incomplete or has a wrong value.
    """
    columns = {name: check_value(facts, Column, path) for name, facts in descriptions.items()}
    for name, column in columns.items():
        if column.name != name:
            raise DamagedFileError(f"{path} must have one name for column {name}", got=column.name)
    return columns


def column_schema(shape: FeatureShape) -> pa.Schema:
    """Return the Arrow schema of a column file."""
    value_type = {"float16": pa.float16(), "float32": pa.float32()}[shape.dtype]
    tensor_type = pa.fixed_shape_tensor(value_type, [shape.dim])
    return pa.schema(
        [
            pa.field("feature", pa.list_(tensor_type) if shape.max_tokens else tensor_type),
            pa.field("status", pa.string(), nullable=False),
            pa.field("reason", pa.string()),
            pa.field("error", pa.string()),
        ]
    )


def make_column_batch(
    features: np.ndarray | Sequence[np.ndarray | None],
    statuses: Sequence[RowStatus],
    shape: FeatureShape,
) -> pa.RecordBatch:
    """Build a record batch of a column file.

    Args:
        features: one array per row, shape (dim,), or (tokens, dim) for a token column. None = the
            row has no feature. Vectors may come as one array of shape (rows, dim), zeros where the
            status is not ok.
        statuses: one per row.
        shape: shape of the column's features.
    """
    schema = column_schema(shape)
    feature_type = schema.field("feature").type
    status_arrays = [
        pa.array([getattr(status, name) for status in statuses], pa.string())
        for name in ("status", "reason", "error")
    ]
    if shape.max_tokens:
        feature_array = _token_array(features, shape, feature_type)  # type: ignore[arg-type]
    elif isinstance(features, np.ndarray):
        mask = pc.not_equal(status_arrays[0], OK.status)
        feature_array = _wrap_vectors(features, mask, feature_type)
    else:
        feature_array = _vector_array(features, shape, feature_type)
    return pa.record_batch([feature_array, *status_arrays], schema=schema)


def _vector_array(
    features: Sequence[np.ndarray | None], shape: FeatureShape, tensor_type: pa.DataType
) -> pa.Array:
    values = np.zeros((len(features), shape.dim), shape.dtype)
    for row, feature in enumerate(features):
        if feature is not None:
            values[row] = feature
    return _wrap_vectors(values, _null_mask(features), tensor_type)


def _wrap_vectors(values: np.ndarray, mask: pa.Array, tensor_type: pa.DataType) -> pa.Array:
    """Return vectors of shape (rows, dim) as Arrow has them, null where the mask is true."""
    flat = pa.array(values.reshape(-1))
    vectors = pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)
    return pa.ExtensionArray.from_storage(tensor_type, vectors)


def _token_array(
    features: Sequence[np.ndarray | None], shape: FeatureShape, list_type: pa.DataType
) -> pa.Array:
    counts = [0 if feature is None else len(feature) for feature in features]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    tokens = [feature for feature in features if feature is not None]
    values = np.concatenate([np.empty((0, shape.dim), shape.dtype), *tokens]).astype(shape.dtype)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), shape.dim)
    tensors = pa.ExtensionArray.from_storage(list_type.value_type, vectors)
    mask = _null_mask(features)
    lists = pa.ListArray.from_arrays(pa.array(offsets), vectors, mask=mask)
    return pa.ListArray.from_arrays(lists.offsets, tensors, type=list_type, mask=mask)


def _null_mask(features: Sequence[np.ndarray | None]) -> pa.Array:
    return pa.array([feature is None for feature in features], pa.bool_())


def stack_features(
    vectors: Sequence[np.ndarray | None], column: Column
) -> tuple[np.ndarray, np.ndarray]:
    """Stack features as a model reads them.

    Args:
        vectors: per row shape (dim,), or (tokens, dim); None if it has none.
        column: the column.

    Returns:
        Features, shape (rows, dim), or (rows, max_tokens, dim) padded with zeros, and a bool mask
        of the present vectors, shape (rows,), or (rows, max_tokens).
    """
    shape = (len(vectors), column.max_tokens) if column.max_tokens else (len(vectors),)
    features, present = np.zeros((*shape, column.dim), column.dtype), np.zeros(shape, bool)
    for row, vector in enumerate(vectors):
        if vector is not None:
            place = (row, slice(len(vector))) if column.max_tokens else (row,)
            features[place], present[place] = vector, True
    return features, present
