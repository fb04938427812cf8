"""Choose the rows of a page: all of a small store, a random sample of a large one."""

import random
from collections.abc import Mapping

MAX_SHARDS = 32
"""Most shards that a page reads. A sample of more shards would take long to find."""


def choose_rows(shards: Mapping[str, int], limit: int, seed: int) -> dict[str, list[int]]:
    """Choose rows of a store, uniformly, in memory that does not grow with the store.

    If the store has more rows than `limit`, at most `MAX_SHARDS` of its shards are chosen at
    random, and then rows of these shards.

    Args:
        shards: shard → number of its rows.
        limit: most rows.
        seed: seed of the choice.

    Returns:
        Shard → its chosen rows in ascending order; shards in the order of the store.
    """
    total = sum(shards.values())
    if total <= limit:
        return {shard: list(range(rows)) for shard, rows in shards.items() if rows}
    generator = random.Random(seed)  # noqa: S311 - a sample, no secret
    names = list(shards)
    if len(names) > MAX_SHARDS:
        kept = sorted(generator.sample(range(len(names)), MAX_SHARDS))
        names = [names[index] for index in kept]
    rows_of = {name: shards[name] for name in names}
    total = sum(rows_of.values())
    numbers = sorted(generator.sample(range(total), min(limit, total)))
    return _split_by_shard(numbers, rows_of)


def _split_by_shard(numbers: list[int], shards: Mapping[str, int]) -> dict[str, list[int]]:
    """Turn numbers of rows, counted over all shards, into rows of each shard."""
    chosen: dict[str, list[int]] = {}
    start, position = 0, 0
    for shard, rows in shards.items():
        first = position
        while position < len(numbers) and numbers[position] < start + rows:
            position += 1
        if position > first:
            chosen[shard] = [number - start for number in numbers[first:position]]
        start += rows
    return chosen
