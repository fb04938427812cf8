"""The rows of predictions, for an export."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmfeat.errors import DamagedFileError
from mmfeat.exporting.rows import ExportRows, Vectors
from mmfeat.exporting.source import ExportSource
from mmfeat.features import FeatureShape
from mmfeat.prediction_files import read_rows
from mmfeat.store import damaged, read_manifest, require_receipt

EMBEDDING = "embedding"
"""Column of the fused vectors in predictions."""

_DTYPES = {pa.float16(): "float16", pa.float32(): "float32"}


class PredictionsSource(ExportSource):
    """The predictions of `mmfeat score`. Their vector is the fused one, of `--embedding`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.manifest = read_manifest(path, "predictions")

    @cached_property
    def _whole_schema(self) -> pa.Schema:
        if not self.shards:
            raise DamagedFileError(f"the manifest of {self.path} must list shards", got=[])
        return self._read_table(self.shards[0]["name"], None).schema

    @cached_property
    def shapes(self) -> dict[str, FeatureShape]:
        """Column of vectors → its shape, which the first vector has."""
        fields = [field for field in self._whole_schema if field.name == EMBEDDING]
        kind = fields[0].type if fields else pa.null()
        is_list = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
        if not is_list or kind.value_type not in _DTYPES:
            return {}
        for shard in self.shards:
            vectors = self._read_table(shard["name"], [EMBEDDING])[EMBEDDING].drop_null()
            if len(vectors) and (dim := len(vectors[0])):
                return {EMBEDDING: FeatureShape(dim, _DTYPES[kind.value_type])}
        return {}

    @property
    def modalities(self) -> dict[str, str]:
        """Column of vectors → no modality."""
        return dict.fromkeys(self.shapes, "")

    @property
    def schema(self) -> pa.Schema:
        """Schema of the columns without vectors."""
        return pa.schema([f for f in self._whole_schema if f.name not in self.shapes])

    @property
    def complete(self) -> set[str]:
        """No column: the manifest does not count them."""
        return set()

    def fingerprint(self, column: str) -> str:
        """Return the configuration of the predictions."""
        return str(self.manifest["config_hash"])

    def read(
        self, shard: str, columns: Sequence[str], vectors: Sequence[str], dtype: str
    ) -> ExportRows:
        """Read the rows of a shard."""
        table = self._read_table(shard, [*columns, *vectors])
        path = f"{self.path}, shard {shard},"
        return ExportRows(
            shard,
            table.select(list(columns)),
            {name: _to_vectors(table[name], self.shapes[name], dtype, path) for name in vectors},
        )

    def _read_table(self, shard: str, columns: list[str] | None) -> pa.Table:
        return read_rows(self.path, require_receipt(self.path, shard), columns)


def _to_vectors(column: pa.ChunkedArray, shape: FeatureShape, dtype: str, path: str) -> Vectors:
    """Return the lists of a column as vectors.

    Raises:
        DamagedFileError: one has another length than the first one of the store.
    """
    present = np.asarray(column.is_valid())
    kept = column.drop_null()
    if lengths := {*pc.list_value_length(kept).to_pylist()} - {shape.dim}:
        raise damaged(path, f"a table of vectors of {shape.dim} numbers", f"one of {min(lengths)}")
    features = np.zeros((len(column), shape.dim), dtype or shape.dtype)
    features[present] = pc.list_flatten(kept).to_numpy().reshape(-1, shape.dim)
    return Vectors(features, present, [None if ok else "missing" for ok in present.tolist()])
