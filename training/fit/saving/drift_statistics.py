"""Statistics of the features of the training rows: scoring compares new records with them."""

from collections.abc import Sequence

import numpy as np

from mmfeat.drift import ColumnStatistics, StatisticsBuilder, save_statistics
from mmfeat.features import Column, FeatureStore
from mmfeat.store import RecordedFile

MAX_SHARDS = 256
"""Shards that are opened: more would say little more."""


def write_statistics(
    folder: str, store: FeatureStore, columns: Sequence[str], rows: np.ndarray
) -> RecordedFile:
    """Write the statistics of a model's columns, and return size and digests of the file.

    Args:
        folder: the model.
        store: the features.
        columns: the columns in the model's order.
        rows: as for `compute_statistics`.
    """
    found = compute_statistics(store, [store.columns[name] for name in columns], rows)
    return save_statistics(folder, columns, found)


def compute_statistics(
    store: FeatureStore, columns: Sequence[Column], rows: np.ndarray
) -> dict[str, ColumnStatistics]:
    """Compute statistics over a sample of rows, one shard in memory at a time.

    Args:
        store: the features.
        columns: the columns.
        rows: int64, shape (n,), ascending: rows of the training, counted over all shards.

    Returns:
        Column → statistics; a column without a feature has none.
    """
    names, bounds = list(store.shards), np.cumsum([0, *store.shards.values()])
    numbers = np.searchsorted(bounds, rows, side="right") - 1
    shards = _spread(np.unique(numbers), MAX_SHARDS)
    chosen = np.flatnonzero(np.isin(numbers, shards))
    builders = {column.name: StatisticsBuilder(column.dim) for column in columns}
    for column in columns:
        size = StatisticsBuilder.sample_size(column.dim, len(chosen))
        sample = _spread(chosen, size)
        for number in shards.tolist():
            local = rows[sample[numbers[sample] == number]] - bounds[number]
            if len(local):
                shard = store.read_column(column.name, names[number])
                builders[column.name].add(*shard.take(local, column.max_tokens))
    found = {name: builder.build() for name, builder in builders.items()}
    return {name: statistics for name, statistics in found.items() if statistics}


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    """Return at most `count` values at equal distances."""
    if len(values) <= count:
        return values
    return values[np.arange(count) * len(values) // count]
