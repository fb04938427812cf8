"""Read the vectors of a feature store for comparison, one shard at a time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmfeat.config import choose_names
from mmfeat.errors import MmfeatError
from mmfeat.features import ColumnShard, FeatureStore


def choose_columns(store: FeatureStore, flag: str) -> list[str]:
    """Return the columns that --modalities names; all with one vector per record by default.

    Raises:
        MmfeatError: the store lacks one, or it has several vectors per record.
    """
    pooled = [name for name, column in store.columns.items() if not column.max_tokens]
    rule = f"{store.path} has no column with one vector per record of that name (--modalities)"
    names = choose_names([flag], pooled, rule) or pooled
    if not names:
        raise MmfeatError(
            f"{store.path} has no column with one vector per record",
            cure="Extract one, for example with the option output=pooled of its encoder",
        )
    return [name for name in store.columns if name in names]


class ShardVectors(NamedTuple):
    """The vectors of a shard.

    Attributes:
        shard: its name.
        rows: int64, shape (n,): numbers of the rows in the store.
        vectors: stored values of all columns side by side, shape (n, values).
    """

    shard: str
    rows: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True)
class VectorRows:
    """The rows of a store that have a vector in every column.

    Rows are numbered over all shards. Rows that a retry has replaced, and rows whose vector is zero
    in a column, are left out.

    Attributes:
        store: the features.
        columns: names of the columns.
    """

    store: FeatureStore
    columns: Sequence[str]

    @property
    def dims(self) -> list[int]:
        """Length of the vector of each column."""
        return [self.store.columns[name].dim for name in self.columns]

    @property
    def dtype(self) -> str:
        """Type of the vectors: that of the most precise column."""
        dtypes = {self.store.columns[name].dtype for name in self.columns}
        return "float32" if "float32" in dtypes else "float16"

    def __iter__(self) -> Iterator[ShardVectors]:
        yield from self.read(Counter())

    def read(self, left_out: Counter[str]) -> Iterator[ShardVectors]:
        """Yield the vectors of each shard.

        Args:
            left_out: counts the rows that cannot be compared, by reason: `image:missing`.
        """
        start = 0
        for shard, count in self.store.shards.items():
            samples = self.store.read_samples(shard, ["__key__", "status"])
            usable = ~self.store.retried_rows.mask(samples, shard)
            columns = {name: self.store.read_column(name, shard) for name in self.columns}
            for name, column in columns.items():
                for reason, rows in _unusable(name, column):
                    left_out[reason] += int((rows & usable).sum())
                    usable &= ~rows
            rows = np.flatnonzero(usable)
            parts = [column.features[rows].astype(self.dtype) for column in columns.values()]
            yield ShardVectors(shard, rows + start, np.concatenate(parts, axis=1))
            start += count

    def normalize(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors as float32 with length 1 in each column; shape as given."""
        unit = np.empty(vectors.shape, np.float32)
        start = 0
        for dim in self.dims:
            part = vectors[:, start : start + dim].astype(np.float32)
            norms = np.linalg.norm(part, axis=1, keepdims=True)
            unit[:, start : start + dim] = part / np.maximum(norms, np.finfo(np.float32).tiny)
            start += dim
        return unit

    def similarity(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the smallest cosine of the columns, float32, shape (len(first), len(second)).

        Args:
            first, second: results of `normalize`.
        """
        result: np.ndarray | None = None
        start = 0
        for dim in self.dims:
            part = first[:, start : start + dim] @ second[:, start : start + dim].T
            result = part if result is None else np.minimum(result, part, out=result)
            start += dim
        assert result is not None
        return result


def _unusable(name: str, column: ColumnShard) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the reasons why rows cannot be compared, each with its rows: bool, shape (rows,)."""
    reasons = np.array([reason or "" for reason in column.reasons.to_pylist()], object)
    for reason in sorted({*reasons[~column.present].tolist()}):
        yield f"{name}:{reason or 'missing'}", ~column.present & (reasons == reason)
    yield f"{name}:zero", column.present & ~column.features.any(axis=1)
