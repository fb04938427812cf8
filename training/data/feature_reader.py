"""Feature rows by number: from memory where they fit, from memory maps of the shards elsewhere."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import psutil

from mmfeat.features.column_format import Column
from mmfeat.features.column_reader import ColumnShard
from mmfeat.features.store import FeatureStore

Shard = Mapping[str, ColumnShard]
"""The columns of one shard, by name."""

PART = 8192
"""Rows that are in memory at a time where rows are read one after another."""

_OPEN = 8
"""Shards that stay open: those that a shuffled buffer draws from."""


class Vectors(NamedTuple):
    """Features of some rows in one column, without padding.

    Attributes:
        features: float16 or float32, shape (rows, dim); of tokens shape (all tokens, dim).
        present: bool, shape (rows,).
        offsets: int64, shape (rows + 1,): where each row's tokens begin; None of a pooled column.
    """

    features: np.ndarray
    present: np.ndarray
    offsets: np.ndarray | None


class FeatureRows:
    """Rows of several feature columns, numbered through all shards.

    Args:
        columns: the columns, in the model's order.
        bounds: int64; where each shard starts, and the number of rows at the end.
        load: opens a shard by its number.
        in_memory: whether a row costs the same wherever it stands.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        bounds: np.ndarray,
        load: Callable[[int], Shard],
        *,
        in_memory: bool,
    ) -> None:
        self.columns = list(columns)
        self.in_memory = in_memory
        self._bounds = bounds
        self._load = load
        self._open: OrderedDict[int, Shard] = OrderedDict()

    def only(self, names: Collection[str]) -> Self:
        """The same rows with some of the columns."""
        columns = [column for column in self.columns if column.name in names]
        return type(self)(columns, self._bounds, self._load, in_memory=self.in_memory)

    def take(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Some rows, in the order asked for.

        Args:
            rows: int64, shape (n,); ascending rows are read shard by shard.

        Returns:
            features, column → shape (n, dim), or (n, max_tokens, dim) of tokens; and what is
            there, column → bool, shape (n,), or (n, max_tokens).
        """
        where = np.searchsorted(self._bounds, rows, side="right") - 1
        cuts = np.flatnonzero(np.diff(where)) + 1
        parts = [
            self._of_shard(int(where[part[0]]), rows[part])
            for part in np.split(np.arange(len(rows)), cuts)
            if len(part)
        ] or [self._of_shard(0, rows)]
        if len(parts) == 1:
            return parts[0]
        return (
            {c.name: np.concatenate([part[0][c.name] for part in parts]) for c in self.columns},
            {c.name: np.concatenate([part[1][c.name] for part in parts]) for c in self.columns},
        )

    def all(self) -> dict[str, Vectors]:
        """All rows, by column, not copied; only where they are in memory."""
        assert self.in_memory
        shard = self._shard(0)
        parts = {column.name: shard[column.name] for column in self.columns}
        return {n: Vectors(p.features, p.present, p.offsets) for n, p in parts.items()}

    def gather(self, rows: np.ndarray) -> dict[str, Vectors]:
        """A copy of some rows, by column.

        Args:
            rows: int64, shape (n,); ascending rows are read shard by shard.
        """
        copies: dict[str, _Pooled | _Tokens] = {
            c.name: (_Tokens if c.max_tokens else _Pooled)(c, rows) for c in self.columns
        }
        where = np.searchsorted(self._bounds, rows, side="right") - 1
        starts = np.flatnonzero(np.diff(where, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
            number = int(where[start])
            shard = self._shard(number)
            local = _consecutive(rows[start:end] - self._bounds[number])
            for name, copy in copies.items():
                copy.add(shard[name], local, slice(start, end))
        return {name: copy.vectors() for name, copy in copies.items()}

    def in_parts(
        self, rows: np.ndarray
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]]:
        """The rows a bounded part at a time: their numbers, features and what is there."""
        for start in range(0, len(rows), PART):
            part = rows[start : start + PART]
            yield (part, *self.take(part))

    def _of_shard(
        self, number: int, rows: np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        shard = self._shard(number)
        taken = {
            column.name: shard[column.name].take(rows - self._bounds[number], column.max_tokens)
            for column in self.columns
        }
        return {n: values for n, (values, _) in taken.items()}, {
            n: present for n, (_, present) in taken.items()
        }

    def _shard(self, number: int) -> Shard:
        if number not in self._open:
            self._open[number] = self._load(number)
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]


def _consecutive(rows: np.ndarray) -> np.ndarray | slice:
    """The rows as a slice where one follows the other: numpy then copies them in one go."""
    if (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


class _Pooled:
    """Collects rows of one vector each."""

    def __init__(self, column: Column, rows: np.ndarray) -> None:
        self._features = np.empty((len(rows), column.dim), column.dtype)
        self._present = np.empty(len(rows), bool)

    def add(self, part: ColumnShard, local: np.ndarray | slice, there: slice) -> None:
        self._present[there] = part.present[local]
        if isinstance(local, slice):
            self._features[there] = part.features[local]
        else:  # with another mode numpy would build the rows elsewhere first
            np.take(part.features, local, axis=0, out=self._features[there], mode="clip")

    def vectors(self) -> Vectors:
        return Vectors(self._features, self._present, None)


class _Tokens:
    """Collects rows of any number of vectors each."""

    def __init__(self, column: Column, rows: np.ndarray) -> None:
        self._parts = [np.empty((0, column.dim), column.dtype)]
        self._present = np.empty(len(rows), bool)
        self._offsets = np.zeros(len(rows) + 1, np.int64)

    def add(self, part: ColumnShard, local: np.ndarray | slice, there: slice) -> None:
        assert part.offsets is not None
        starts, ends = part.offsets[:-1][local], part.offsets[1:][local]
        self._present[there] = part.present[local]
        self._offsets[1:][there] = ends - starts
        if isinstance(local, slice):
            self._parts.append(np.array(part.features[starts[0] : ends[-1]]))
            return
        counts = ends - starts
        first = np.cumsum(counts) - counts
        tokens = np.arange(counts.sum()) + np.repeat(starts - first, counts)
        self._parts.append(part.features[tokens])

    def vectors(self) -> Vectors:
        return Vectors(np.concatenate(self._parts), self._present, np.cumsum(self._offsets))


def mapped_rows(store: FeatureStore, columns: Sequence[Column]) -> FeatureRows:
    """Rows read from the store when they are asked for; local shards by memory map."""
    names = list(store.shards)
    bounds = np.cumsum([0, *store.shards.values()])

    def load(number: int) -> Shard:
        return {column.name: store.read_column(column.name, names[number]) for column in columns}

    return FeatureRows(columns, bounds, load, in_memory=False)


class MemoryRows:
    """Collects shards into one array a column.

    Args:
        columns: the columns to collect.
        rows: rows of all shards.
    """

    def __init__(self, columns: Sequence[Column], rows: int) -> None:
        self._columns = columns
        self._rows = rows
        self._start = 0
        self._present = {column.name: np.zeros(rows, bool) for column in columns}
        self._pooled = {
            column.name: np.zeros((rows, column.dim), column.dtype)
            for column in columns
            if not column.max_tokens
        }
        self._tokens: dict[str, list[np.ndarray]] = {c.name: [] for c in columns if c.max_tokens}
        self._counts: dict[str, list[np.ndarray]] = {c.name: [] for c in columns if c.max_tokens}

    def add(self, shard: Shard) -> None:
        """Take the next shard in."""
        for name, part in shard.items():
            there = slice(self._start, self._start + len(part.present))
            self._present[name][there] = part.present
            if part.offsets is None:
                self._pooled[name][there][part.present] = part.features[part.present]
            else:
                self._tokens[name].append(np.array(part.features))
                self._counts[name].append(np.diff(part.offsets))
        self._start = there.stop

    def rows(self) -> FeatureRows:
        """All that was taken in."""
        shard = {
            column.name: ColumnShard(
                self._joined(column), self._present[column.name], None, self._offsets(column)
            )
            for column in self._columns
        }
        bounds = np.array([0, self._rows])
        return FeatureRows(self._columns, bounds, lambda number: shard, in_memory=True)

    def _joined(self, column: Column) -> np.ndarray:
        if not column.max_tokens:
            return self._pooled[column.name]
        parts = self._tokens.pop(column.name)
        return np.concatenate([np.empty((0, column.dim), column.dtype), *parts])

    def _offsets(self, column: Column) -> np.ndarray | None:
        if not column.max_tokens:
            return None
        counts = np.concatenate([[0], *self._counts[column.name]])
        return np.cumsum(counts).astype(np.int64)


def size_in_memory(store: FeatureStore, columns: Sequence[Column]) -> int:
    """Bytes of the columns' vectors; of tokens at most."""
    return sum(
        store.records * max(1, column.max_tokens) * column.dim * np.dtype(column.dtype).itemsize
        for column in columns
    )


def available_memory() -> int:
    """Bytes of memory that can be taken, cached files included."""
    return int(psutil.virtual_memory().available)
