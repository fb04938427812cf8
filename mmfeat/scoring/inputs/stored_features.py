"""The features of a store, as `mmfeat extract` wrote them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from mmfeat.features import ColumnShard, FeatureStore
from mmfeat.scoring.inputs.base import RowReader, ScoringInput, SelectRows, ShardRows
from mmfeat.scoring.predicting import ScoredModels
from mmfeat.store import ShardTask
from mmfeat.system import progress


class StoredFeatures(ScoringInput):
    """A feature store.

    Args:
        path: output directory of `mmfeat extract`.
    """

    kind = "features"

    def __init__(self, path: str) -> None:
        self.path = path

    def read_schema(self) -> pa.Schema:
        """See `ScoringInput.read_schema`."""
        return FeatureStore(self.path).samples_schema

    def open(self, models: ScoredModels) -> None:
        """See `ScoringInput.open`."""
        store = FeatureStore(self.path)
        models.check_columns(store.columns)
        self.shards = store.manifest["shards"]
        self.config_hash = store.manifest["config_hash"]
        self.retry_digest = store.retried_rows.digest
        self.samples_schema = store.samples_schema

    def __getstate__(self) -> dict[str, object]:
        """Leave out the list of shards."""
        return self.__dict__ | {"shards": ()}

    def load(self, models: ScoredModels | None, processes: int = 1) -> RowReader:
        """Open the store."""
        return _StoredRows(FeatureStore(self.path), list(models.columns) if models else [])


class _StoredRows(RowReader):
    def __init__(self, store: FeatureStore, names: Sequence[str]) -> None:
        self._store, self._names = store, names

    def read_samples(self, task: ShardTask, names: Sequence[str]) -> pa.Table:
        return self._store.read_samples(task.shard, names)

    def read(self, task: ShardTask, names: Sequence[str], select: SelectRows) -> ShardRows:
        with progress.METRICS.timed("read"):
            columns = {name: self._store.read_column(name, task.shard) for name in self._names}
            samples = self.read_samples(task, names)
        bytes_read = sum(column.features.nbytes for column in columns.values())
        return ShardRows(samples, columns, *select(samples), bytes_read)

    def try_records(self, task: ShardTask, rows: range) -> Mapping[str, ColumnShard]:
        return {name: self._store.read_column(name, task.shard) for name in self._names}

    def replaced_rows(self, samples: pa.Table, shard: str) -> np.ndarray:
        return self._store.retried_rows.mask(samples, shard)
