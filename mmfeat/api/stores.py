"""The stores of each kind as objects."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmfeat.api.record import Record
from mmfeat.api.store import TableFileStore, TableStore
from mmfeat.features import Column, FeatureStore
from mmfeat.prediction_files import read_rows
from mmfeat.records import modality_of_slot, slot_of_extension
from mmfeat.shards import read_stored_shard
from mmfeat.storage import files
from mmfeat.store import (
    RetriedRows,
    open_checked,
    read_parquet,
    read_parquet_schema,
    require_receipt,
)

if TYPE_CHECKING:
    from torch.utils.data import IterableDataset

    from mmfeat.api.trained_model import TrainedModel


class Shards(TableStore):
    """Shards: the output of `mmfeat shard`. Its rows are those of the samples tables."""

    kind = "shards"

    @property
    def slots(self) -> list[str]:
        """Parts that the records have, such as `image` and `text`."""
        return list(self.manifest["slots"])

    @property
    def facts(self) -> dict[str, Any]:
        """What the shards contain."""
        return {"slots": ", ".join(self.slots), "shards": len(self.shards), **super().facts}

    @cached_property
    def column_names(self) -> list[str]:
        """Names of the columns of the samples table."""
        return read_parquet_schema(self._table(self.shards[0])).names

    def read_shard(self, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the samples table of a shard."""
        table = self._read(shard, columns)
        kept = table.filter(pa.array(~self._retried_rows.mask(table, shard)))
        return kept if columns is None else kept.select(list(columns))

    def read_records(self, shard: str) -> Iterator[Record]:
        """Yield the records of a shard with their bytes."""
        table = self._read(shard)
        kept = ~self._retried_rows.mask(table, shard)
        samples = read_stored_shard(self.path, require_receipt(self.path, shard), self.slots)
        for sample, values, keep in zip(samples, table.to_pylist(), kept, strict=True):
            members = sample.sample.members if sample.sample else {}
            slots = {slot_of_extension(name): content for name, content in members.items()}
            contents = {slot: bytes(c) for slot, c in slots.items() if modality_of_slot(slot)}
            if keep:
                yield Record(sample.key, values, contents)

    def _table(self, shard: str) -> str:
        return files.join(self.path, f"{shard}.parquet")

    def _read(self, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
        names = None if columns is None else [*dict.fromkeys((*columns, "__key__", "status"))]
        info = require_receipt(self.path, shard).files[f"{shard}.parquet"]
        with open_checked(self._table(shard), info) as file:
            return read_parquet(self._table(shard), names, file=file)

    @cached_property
    def _retried_rows(self) -> RetriedRows:
        return RetriedRows.of_shards(self.manifest, lambda shard: self._read(shard)["__key__"])


class Features(TableStore):
    """Features: the output of `mmfeat extract`. Its rows are those of the samples tables, with the
    feature columns behind them."""

    kind = "features"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.store = FeatureStore(self.path)

    @property
    def columns(self) -> dict[str, Column]:
        """Feature columns: name → shape and encoder."""
        return self.store.columns

    @property
    def facts(self) -> dict[str, Any]:
        """What the features contain."""
        totals = self.manifest["totals"]["columns"]
        columns = {
            f"column {name}": f"{totals[name]['out']:,} of {column.slot}, {column.summary}"
            for name, column in self.columns.items()
        }
        return {**columns, "shards": len(self.shards), **super().facts}

    @cached_property
    def column_names(self) -> list[str]:
        """Names of the columns of the samples table, then `feature_<column>`."""
        return [*self.store.samples_schema.names, *map(_feature_name, self.columns)]

    def read_shard(self, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows of a shard."""
        names = self.column_names if columns is None else list(columns)
        known = {_feature_name(name): name for name in self.columns}
        own = [name for name in names if name not in known]
        table = self.store.read_samples(shard, [*dict.fromkeys((*own, "__key__", "status"))])
        mask = self.store.retried_rows.mask(table, shard)
        for name in names:
            if name in known:
                table = table.append_column(name, self._feature_array(known[name], shard))
        return table.filter(pa.array(~mask)).select(names)

    def _feature_array(self, column: str, shard: str) -> pa.Array:
        rows = self.store.read_column(column, shard)
        mask = pa.array(~rows.present)
        values = pa.array(rows.features.reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(values, rows.features.shape[1])
        if rows.offsets is not None:
            return pa.ListArray.from_arrays(
                pa.array(rows.offsets.astype(np.int32)), vectors, mask=mask
            )
        return pa.FixedSizeListArray.from_arrays(values, rows.features.shape[1], mask=mask)

    def read_records(self, shard: str) -> Iterator[Record]:
        """Yield the records of a shard with their features."""
        samples = self.store.read_samples(shard)
        kept = ~self.store.retried_rows.mask(samples, shard)
        columns = {name: self.store.read_column(name, shard) for name in self.columns}
        for row in np.flatnonzero(kept).tolist():
            values = samples.slice(row, 1).to_pylist()[0]
            features = {
                name: column.vectors(row) if column.present[row] else None
                for name, column in columns.items()
            }
            yield Record(values["__key__"], values, features=features)

    def torch_dataset(self, columns: Sequence[str] = ()) -> "IterableDataset[dict[str, Any]]":
        """Return a torch dataset of one dict per record; workers of a loader share the shards.

        Args:
            columns: columns of the samples table to add, such as the target.

        Returns:
            A dataset whose items have `__key__`, the named columns, for each feature column its
            feature (float16 or float32, shape (dim,), or (tokens, dim); zeros if absent), and
            `has_<column>`, whether it is there.
        """
        from mmfeat.api.torch_dataset import FeatureDataset

        return FeatureDataset(self, self._check(columns) or [])


class Predictions(TableStore):
    """Predictions: the output of `mmfeat score`, one row per record."""

    kind = "predictions"

    @cached_property
    def column_names(self) -> list[str]:
        """Names of the columns of the predictions."""
        names: list[str] = self.read_shard(self.shards[0]).column_names
        return names

    def read_shard(self, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the predictions of a shard."""
        receipt = require_receipt(self.path, shard)
        return read_rows(self.path, receipt, None if columns is None else list(columns))

    def read_records(self, shard: str) -> Iterator[Record]:
        """Yield the records of a shard with their predictions."""
        for values in self.read_shard(shard).to_pylist():
            yield Record(values["__key__"], values)


class Comparison(TableFileStore):
    """A comparison: the output of `mmfeat compare`. Its table is the leaderboard."""

    kind = "comparison"
    _file = "leaderboard.parquet"

    @property
    def facts(self) -> dict[str, Any]:
        """What the comparison found."""
        return {"winner": self.manifest["winner"]["name"], "models": self.leaderboard.num_rows}

    @cached_property
    def leaderboard(self) -> pa.Table:
        """One row per model, with its metric, interval and cost."""
        return self.to_arrow()

    @cached_property
    def winner(self) -> "TrainedModel":
        """The model that was picked."""
        from mmfeat.api.trained_model import TrainedModel

        return TrainedModel(files.join(self.path, "winner"))


class Ranking(TableFileStore):
    """A ranking of misaligned records: the output of `mmfeat align-report`. Its table has the most
    misaligned records first."""

    kind = "ranking"
    _file = "misaligned.parquet"

    @property
    def facts(self) -> dict[str, Any]:
        """What the ranking contains."""
        totals: Mapping[str, Any] = self.manifest.get("totals", {})
        return dict(totals)


def _feature_name(column: str) -> str:
    return f"feature_{column}"
