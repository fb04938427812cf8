"""The rows of a feature store, for an export."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmfeat.exporting.rows import ExportRows, Vectors
from mmfeat.exporting.source import ExportSource
from mmfeat.features import FeatureShape, FeatureStore


class FeaturesSource(ExportSource):
    """The features of `mmfeat extract`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._store = FeatureStore(path)
        self.manifest = self._store.manifest

    @property
    def shapes(self) -> dict[str, FeatureShape]:
        """Column of vectors → its shape."""
        return {name: column.shape for name, column in self._store.columns.items()}

    @property
    def modalities(self) -> dict[str, str]:
        """Column of vectors → its modality."""
        return {name: column.modality for name, column in self._store.columns.items()}

    @property
    def schema(self) -> pa.Schema:
        """Schema of the samples table."""
        return self._store.samples_schema

    @property
    def complete(self) -> set[str]:
        """Columns of vectors that no record lacks."""
        totals = self.manifest["totals"]["columns"]
        counts = {name: totals[name] for name in self.shapes if name in totals}
        return {name for name, total in counts.items() if total["out"] == total["records"]}

    def fingerprint(self, column: str) -> str:
        """Return the fingerprint of the encoder."""
        return self._store.columns[column].fingerprint

    def read(
        self, shard: str, columns: Sequence[str], vectors: Sequence[str], dtype: str
    ) -> ExportRows:
        """Read the rows of a shard."""
        names = [*dict.fromkeys([*columns, "__key__", "status"])]
        samples = self._store.read_samples(shard, names)
        kept = np.flatnonzero(~self._store.retried_rows.mask(samples, shard))
        table = samples.take(pa.array(kept)).select(list(columns))
        found = {
            name: Vectors.select(self._store.read_column(name, shard), kept, dtype)
            for name in vectors
        }
        return ExportRows(shard, table, found)
