import tracemalloc
from collections import Counter

from mmfeat.inspection.rows.chosen_rows import MAX_SHARDS, choose_rows


def test_a_small_store_is_shown_whole():
    assert choose_rows({"a": 2, "b": 0, "c": 1}, 3, seed=0) == {"a": [0, 1], "c": [0]}


def test_rows_of_a_large_store_are_chosen_at_random_and_again_with_the_seed():
    shards = {f"{number:05}": 100 for number in range(20)}
    chosen = choose_rows(shards, 200, seed=1)
    assert chosen == choose_rows(shards, 200, seed=1) != choose_rows(shards, 200, seed=2)
    assert sum(map(len, chosen.values())) == 200
    assert all(rows == sorted(set(rows)) and max(rows) < 100 for rows in chosen.values())
    assert len(chosen) == 20


def test_every_row_has_the_same_chance():
    counts = Counter(
        (shard, row)
        for seed in range(3000)
        for shard, rows in choose_rows({"a": 3, "b": 7}, 2, seed).items()
        for row in rows
    )
    assert len(counts) == 10
    assert 500 < min(counts.values()) <= max(counts.values()) < 700


def test_few_shards_of_many_are_read_and_memory_is_bounded():
    shards = {f"{number:05}": 10**6 for number in range(10_000)}
    tracemalloc.start()
    chosen = choose_rows(shards, 500, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(chosen) <= MAX_SHARDS
    assert sum(map(len, chosen.values())) == 500
    assert peak < 1 << 20
