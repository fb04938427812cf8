"""A column whose vectors are searched, as stored or in the space of an alignment."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from mmfeat.errors import check_names
from mmfeat.features import Column, FeatureStore

Project: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(features, present) of rows as a model reads them → vectors, shape (rows, d)."""


class UnitVectors(NamedTuple):
    """Vectors of length 1 of some rows.

    Attributes:
        shard: their shard.
        rows: int64, shape (n,): numbers of the rows in the shard.
        vectors: float32, shape (n, d).
    """

    shard: str
    rows: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True)
class SearchedColumn:
    """A column of a feature store.

    Attributes:
        store: the features.
        column: the column.
        project: maps its features to the space of the query; None = they are compared as stored.
    """

    store: FeatureStore
    column: Column
    project: Project | None = None

    @property
    def records(self) -> int:
        """Upper bound of the number of vectors."""
        return self.store.records

    def __iter__(self) -> Iterator[UnitVectors]:
        """Yield the vectors of each shard: rows with a feature that no retry has replaced."""
        for shard in self.store.shards:
            samples = self.store.read_samples(shard, ["__key__", "status"])
            kept = ~self.store.retried_rows.mask(samples, shard)
            yield self.read(shard, np.flatnonzero(kept))

    def read(self, shard: str, rows: np.ndarray) -> UnitVectors:
        """Read the vectors of some rows of a shard; rows without a feature are left out."""
        shard_column = self.store.read_column(self.column.name, shard)
        rows = rows[shard_column.present[rows]]
        features, present = shard_column.take(rows, self.column.max_tokens)
        vectors = self.project(features, present) if self.project else features
        unit, is_vector = normalize(vectors)
        return UnitVectors(shard, rows[is_vector], unit[is_vector])


def normalize(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale vectors to length 1, as float32; also return which are not 0: bool, shape (rows,)."""
    vectors = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    is_vector = np.isfinite(lengths) & (lengths > 0)
    return vectors / np.where(is_vector, lengths, 1)[:, None], is_vector


def require_column(store: FeatureStore, name: str, *, pooled: bool) -> Column:
    """Return a column of a store.

    Args:
        store: the features.
        name: its name.
        pooled: whether it must have one vector per record.

    Raises:
        MmfeatError: there is none of that name, or it has several vectors per record.
    """
    known = [n for n, column in store.columns.items() if not (pooled and column.max_tokens)]
    kind = "feature column with one vector per record" if pooled else "feature column"
    check_names([name], known, f"{store.path} has no {kind} of that name")
    return store.columns[name]
