"""Feature columns whose values are row numbers."""

from collections.abc import Callable, Sequence

import numpy as np

from mmfeat.features.column_format import Column
from mmfeat.features.column_reader import ColumnShard
from training.data.feature_reader import ColumnBuilder, FeatureReader, ShardColumns, memory_reader

TOKENS = 3

COLUMNS = [
    Column("pooled", "image", 2, "print", {}),
    Column("tokens", "text", 2, "print", {}, max_tokens=TOKENS),
]


def numbered_shards(sizes: Sequence[int]) -> list[dict[str, ColumnShard]]:
    """Return shards of both columns; row i has the value i.

    Row i has i % 4 tokens, and no pooled vector if i is a multiple of 5.
    """
    shards, first = [], 0
    for size in sizes:
        number = np.arange(first, first + size)
        first += size
        counts = number % (TOKENS + 1)
        pooled = np.repeat(number[:, None], 2, 1).astype(np.float16)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        present = number % 5 != 0
        pooled[~present] = 0
        tokens = np.repeat(np.repeat(number, counts)[:, None], 2, 1).astype(np.float16)
        shards.append(
            {
                "pooled": ColumnShard(pooled, present, None),
                "tokens": ColumnShard(tokens, counts > 0, None, offsets),
            }
        )
    return shards


class RecordingLoader:
    """Opens such shards and records their numbers in `opened`."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._shards = numbered_shards(sizes)
        self.opened: list[int] = []

    def __call__(self, number: int) -> ShardColumns:
        self.opened.append(number)
        return self._shards[number]


def numbered_reader(
    sizes: Sequence[int],
    *,
    in_memory: bool = False,
    load: Callable[[int], ShardColumns] | None = None,
) -> FeatureReader:
    """Return a reader of such shards; `load` replaces the function that opens a shard."""
    shards = numbered_shards(sizes)
    if not in_memory:
        bounds = np.cumsum([0, *sizes])
        return FeatureReader(COLUMNS, bounds, load or shards.__getitem__, in_memory=False)
    builders = {column.name: ColumnBuilder(column, sum(sizes)) for column in COLUMNS}
    for shard, size in zip(shards, sizes, strict=True):
        for name, builder in builders.items():
            builder.append(shard[name], slice(0, size))
    return memory_reader(COLUMNS, {name: builder.build() for name, builder in builders.items()})
