"""Read feature rows by number, from memory or from the memory-mapped shards of a store."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Self, TypeAlias

import numpy as np
import psutil

from mmfeat.features import Column, ColumnShard, FeatureStore

ShardColumns: TypeAlias = Mapping[str, ColumnShard]
"""Column name → the same rows of that column."""

PaddedFeatures: TypeAlias = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
"""features, column → shape (n, dim), or (n, max_tokens, dim) of a token column; and a bool mask of
the present vectors, column → shape (n,), or (n, max_tokens)."""

PART_ROWS = 8192
"""Rows in memory at a time in a sequential pass."""

_MAX_OPEN_SHARDS = 8


class FeatureReader:
    """Rows of several feature columns, numbered across all shards.

    Args:
        columns: the columns, in the model's order.
        bounds: int64, shape (shards + 1,): first row of each shard, then the number of rows.
        load: opens a shard, given its number. At most 8 shards stay open.
        in_memory: whether all rows are in memory as one shard.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        bounds: np.ndarray,
        load: Callable[[int], ShardColumns],
        *,
        in_memory: bool,
    ) -> None:
        self.columns = list(columns)
        self.in_memory = in_memory
        self._bounds = bounds
        self._load = load
        self._open_shards: OrderedDict[int, ShardColumns] = OrderedDict()

    def select_columns(self, names: Collection[str]) -> Self:
        """Return a reader of the same rows with some of the columns."""
        columns = [column for column in self.columns if column.name in names]
        return type(self)(columns, self._bounds, self._load, in_memory=self.in_memory)

    def map_shards(
        self, columns: Sequence[Column], function: Callable[[ShardColumns], ShardColumns]
    ) -> Self:
        """Return a reader of the same rows with other features.

        Args:
            columns: the columns of the new features.
            function: makes the new features of a shard. Features in memory are made at once.
        """
        load = self._load
        if self.in_memory:
            features = function(self._shard(0))
            return type(self)(columns, self._bounds, lambda number: features, in_memory=True)
        return type(self)(
            columns, self._bounds, lambda number: function(load(number)), in_memory=False
        )

    def take(self, rows: np.ndarray) -> PaddedFeatures:
        """Return some rows in the form a model reads, in the requested order.

        Args:
            rows: int64, shape (n,). Each shard is opened once if they are ascending.
        """
        parts = [self._pad(shard, local) for shard, local in self._runs(rows)]
        parts = parts or [self._pad(self._shard(0), rows)]
        if len(parts) == 1:
            return parts[0]
        features, present = (
            {c.name: np.concatenate([part[i][c.name] for part in parts]) for c in self.columns}
            for i in (0, 1)
        )
        return features, present

    def gather(self, rows: np.ndarray) -> dict[str, ColumnShard]:
        """Return a copy of some rows, without padding.

        Args:
            rows: int64, shape (n,). Each shard is opened once if they are ascending.
        """
        builders = {column.name: ColumnBuilder(column, len(rows)) for column in self.columns}
        for shard, local in self._runs(rows):
            selection = _as_slice(local)
            for name, builder in builders.items():
                builder.append(shard[name], selection)
        return {name: builder.build() for name, builder in builders.items()}

    def all_rows(self) -> dict[str, ColumnShard]:
        """Return all rows without a copy. Requires `in_memory`."""
        assert self.in_memory
        shard = self._shard(0)
        return {column.name: shard[column.name] for column in self.columns}

    def iterate_parts(self, rows: np.ndarray) -> Iterator[PaddedFeatures]:
        """Yield the rows in parts of `PART_ROWS`, each as `take` returns it."""
        for start in range(0, len(rows), PART_ROWS):
            yield self.take(rows[start : start + PART_ROWS])

    def _runs(self, rows: np.ndarray) -> Iterator[tuple[ShardColumns, np.ndarray]]:
        """Yield each run of rows of one shard: the shard and the row numbers inside it."""
        numbers = np.searchsorted(self._bounds, rows, side="right") - 1
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(rows)], strict=False):
            number = int(numbers[start])
            yield self._shard(number), rows[start:end] - self._bounds[number]

    def _pad(self, shard: ShardColumns, rows: np.ndarray) -> PaddedFeatures:
        taken = {c.name: shard[c.name].take(rows, c.max_tokens) for c in self.columns}
        features = {name: values for name, (values, _) in taken.items()}
        return features, {name: mask for name, (_, mask) in taken.items()}

    def _shard(self, number: int) -> ShardColumns:
        if number not in self._open_shards:
            self._open_shards[number] = self._load(number)
            if len(self._open_shards) > _MAX_OPEN_SHARDS:
                self._open_shards.popitem(last=False)
        self._open_shards.move_to_end(number)
        return self._open_shards[number]


class ColumnBuilder:
    """Collects rows of one column from several shards into one `ColumnShard`.

    Args:
        column: the column.
        rows: number of rows to collect.
    """

    def __init__(self, column: Column, rows: int) -> None:
        self._vectors = np.empty((0 if column.max_tokens else rows, column.dim), column.dtype)
        self._tokens = [self._vectors]
        self._present = np.empty(rows, bool)
        self._offsets = np.zeros(rows + 1, np.int64) if column.max_tokens else None
        self._filled = 0

    def append(self, shard: ColumnShard, rows: np.ndarray | slice) -> None:
        """Copy some rows of a shard behind the rows collected so far."""
        present = shard.present[rows]
        target = slice(self._filled, self._filled + len(present))
        self._filled = target.stop
        self._present[target] = present
        if shard.offsets is None or self._offsets is None:
            if isinstance(rows, slice):
                self._vectors[target] = shard.features[rows]
            else:  # in any other mode NumPy copies the rows twice
                np.take(shard.features, rows, axis=0, out=self._vectors[target], mode="clip")
            return
        starts, counts = shard.offsets[:-1][rows], np.diff(shard.offsets)[rows]
        self._offsets[1:][target] = counts
        if isinstance(rows, slice):
            first, last = shard.offsets[rows.start], shard.offsets[rows.stop]
            self._tokens.append(np.array(shard.features[first:last]))
        else:
            shifts = starts - (np.cumsum(counts) - counts)
            self._tokens.append(shard.features[np.arange(counts.sum()) + np.repeat(shifts, counts)])

    def build(self) -> ColumnShard:
        """Return the collected rows. The builder must not be used again."""
        if self._offsets is None:
            return ColumnShard(self._vectors, self._present, None)
        tokens, self._tokens = np.concatenate(self._tokens), []
        return ColumnShard(tokens, self._present, None, np.cumsum(self._offsets))


def _as_slice(rows: np.ndarray) -> np.ndarray | slice:
    """Return consecutive rows as a slice: NumPy copies a slice in one step."""
    if (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def memory_reader(columns: Sequence[Column], features: ShardColumns) -> FeatureReader:
    """Return a reader of rows that are in memory."""
    rows = len(features[columns[0].name].present)
    return FeatureReader(columns, np.array([0, rows]), lambda number: features, in_memory=True)


def store_reader(store: FeatureStore, columns: Sequence[Column]) -> FeatureReader:
    """Return a reader that opens shards on demand. Local shards are memory-mapped."""
    names = list(store.shards)
    bounds = np.cumsum([0, *store.shards.values()])

    def load(number: int) -> ShardColumns:
        return {column.name: store.read_column(column.name, names[number]) for column in columns}

    return FeatureReader(columns, bounds, load, in_memory=False)


def size_in_memory(store: FeatureStore, columns: Sequence[Column]) -> int:
    """Return the size of the columns in bytes; an upper bound for token columns."""
    return sum(
        store.records * max(1, column.max_tokens) * column.dim * np.dtype(column.dtype).itemsize
        for column in columns
    )


def available_memory() -> int:
    """Return the available memory in bytes, including cached files."""
    return int(psutil.virtual_memory().available)
