"""Every training row once an epoch, wherever the rows come from."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.features.column_format import Column
from mmfeat.features.column_reader import ColumnShard
from tests.training.stores import load
from training.data import shuffle
from training.data.batches import Batch, Batches
from training.data.dataset import Dataset
from training.data.feature_reader import FeatureRows, MemoryRows
from training.data.shuffle import balanced, block_size

TOKENS = 3


def columns() -> list[Column]:
    return [
        Column("pooled", "image", 2, "print", {}),
        Column("tokens", "text", 2, "print", {}, max_tokens=TOKENS),
    ]


def shards_of(sizes: Sequence[int]) -> list[dict[str, ColumnShard]]:
    """Row i of all holds i in both columns: i % 4 tokens of it, and no vector where i % 5 is 0."""
    shards, first = [], 0
    for size in sizes:
        number = np.arange(first, first + size)
        first += size
        counts = number % (TOKENS + 1)
        pooled = np.repeat(number[:, None], 2, 1).astype(np.float16)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        there = number % 5 != 0
        pooled[~there] = 0
        shards.append(
            {
                "pooled": ColumnShard(pooled, there, None),
                "tokens": ColumnShard(
                    np.repeat(np.repeat(number, counts)[:, None], 2, 1).astype(np.float16),
                    counts > 0,
                    None,
                    offsets,
                ),
            }
        )
    return shards


def dataset_of(
    xor_store: str, sizes: Sequence[int], rows: np.ndarray, *, in_memory: bool
) -> Dataset:
    """A dataset of such shards; the target of a row is its number."""
    shards, total = shards_of(sizes), sum(sizes)
    if in_memory:
        memory = MemoryRows(columns(), total)
        for shard in shards:
            memory.add(shard)
        features = memory.rows()
    else:
        bounds = np.cumsum([0, *sizes])
        features = FeatureRows(columns(), bounds, shards.__getitem__, in_memory=False)
    return replace(
        load(xor_store), features=features, targets=np.arange(total), parts={"train": rows}
    )


def check_rows(batch: Batch) -> None:
    """Each row has its own features, and padding has none."""
    number = batch.targets
    there = number % 5 != 0
    assert torch.equal(batch.present["pooled"], there)
    assert torch.equal(batch.features["pooled"][:, 0], torch.where(there, number, 0).float())
    counts = number % (TOKENS + 1)
    assert torch.equal(batch.present["tokens"], torch.arange(TOKENS) < counts[:, None])
    tokens = torch.where(batch.present["tokens"], number[:, None], 0).float()
    assert torch.equal(batch.features["tokens"][..., 1], tokens)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    part=st.integers(1, 100),
    size=st.integers(1, 50),
    block=st.integers(1, 20),
    in_memory=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_training_row_comes_once_an_epoch(
    xor_store: str,
    sizes: list[int],
    part: int,
    size: int,
    block: int,
    in_memory: bool,
    seed: int,
) -> None:
    rows = np.flatnonzero(np.random.default_rng(seed).integers(0, 100, sum(sizes)) < part)
    rows = rows if len(rows) else np.array([0])
    dataset = dataset_of(xor_store, sizes, rows, in_memory=in_memory)
    batches = Batches(dataset, size, block=block)
    torch.manual_seed(seed)
    for _ in range(2):
        epoch = list(batches)
        assert sorted(torch.cat([batch.targets for batch in epoch]).tolist()) == rows.tolist()
        assert len(epoch) == len(batches)
        assert {len(batch.targets) for batch in epoch} <= {
            len(rows) // len(epoch),
            -(-len(rows) // len(epoch)),
        }
        for batch in epoch:
            check_rows(batch)


def numbers(batches: Batches) -> list[int]:
    return torch.cat([batch.targets for batch in batches]).tolist()


@pytest.mark.parametrize("shuffled", [True, False])
def test_the_order_is_the_seed_s_wherever_the_rows_are(xor_store: str, shuffled: bool) -> None:
    orders = []
    for in_memory in (True, False):
        dataset = dataset_of(xor_store, [30] * 10, np.arange(0, 300, 2), in_memory=in_memory)
        batches = Batches(dataset, 16, block=10, shuffled=shuffled)
        torch.manual_seed(7)
        orders.append([numbers(batches), numbers(batches)])
    assert orders[0] == orders[1]
    first, second = orders[0]
    assert (first != second) is shuffled
    torch.manual_seed(8)
    assert (numbers(batches) != first) is shuffled


def test_a_buffer_mixes_distant_blocks_and_reads_few_shards(xor_store: str) -> None:
    sizes = [100] * 40
    opened: list[int] = []
    dataset = dataset_of(xor_store, sizes, np.arange(4000), in_memory=False)
    loaded = dataset.features._load

    def load_and_note(number: int) -> dict[str, ColumnShard]:
        opened.append(number)
        return loaded(number)

    dataset.features._load = load_and_note
    batches = Batches(dataset, 100, block=100)
    first = next(iter(batches)).targets // 100
    assert len(set(first.tolist())) == shuffle.BLOCKS
    opened.clear()
    dataset.features._open.clear()
    numbers(batches)
    assert sorted(opened) == list(range(40))
    assert len(dataset.features._open) <= 8


def test_an_epoch_that_is_left_early_leaves_no_thread(xor_store: str) -> None:
    import threading

    dataset = dataset_of(xor_store, [100] * 10, np.arange(1000), in_memory=False)
    before = threading.active_count()
    epoch = iter(Batches(dataset, 10, block=20))
    next(epoch)
    epoch.close()
    assert threading.active_count() == before


def test_an_error_of_the_reading_thread_reaches_the_caller(xor_store: str) -> None:
    dataset = dataset_of(xor_store, [100] * 10, np.arange(1000), in_memory=False)

    def broken(number: int) -> dict[str, ColumnShard]:
        raise OSError("gone")

    dataset.features._load = broken
    with pytest.raises(OSError, match="gone"):
        list(Batches(dataset, 10))


@pytest.mark.parametrize("in_memory", [True, False])
def test_balanced_sampling_draws_every_class_equally_often(xor_store: str, in_memory: bool) -> None:
    dataset = dataset_of(xor_store, [500] * 4, np.arange(2000), in_memory=in_memory)
    classes = np.where(np.arange(2000) % 50 == 0, 2, np.arange(2000) % 2)
    batches = Batches(replace(dataset, targets=classes), 100, block=100, balanced=True)
    counts = Counter(numbers(batches))
    assert sum(counts.values()) == 2000
    assert max(counts.values()) - min(counts.values()) <= 5  # one for each of five buffers


def test_balanced_positions_are_drawn_from_all_rows_of_a_class() -> None:
    classes = np.repeat([4, 9], [90, 10])
    drawn = balanced(classes, np.random.default_rng(0))
    assert np.bincount(classes[drawn])[[4, 9]].tolist() == [50, 50]
    assert len(set(drawn[classes[drawn] == 4].tolist())) > 30


def test_rows_of_many_tokens_make_shorter_blocks() -> None:
    small = Column("x", "image", 512, "print", {})
    large = Column("y", "text", 1024, "print", {}, dtype="float32", max_tokens=256)
    assert block_size([small]) == shuffle.BLOCK
    assert block_size([large]) * shuffle.BLOCKS * 1024 * 4 * 256 <= 1 << 28


def test_rows_come_from_an_object_store(make_store: Callable[..., str]) -> None:
    from tests.training.stores import Records, write_store

    values = np.arange(200)[:, None] * np.ones(4)
    records = Records({"x": values}, {"label": [0, 1] * 100, "split": ["train", "val"] * 100})
    records.metadata["label"] = ([0] * 2 + [1] * 2) * 50
    dataset = load(write_store("memory://batches/features", records, shards=5), access="blocks")
    found = torch.cat([batch.features["x"] for batch in Batches(dataset, 10, block=7)])
    assert sorted(found[:, 0].tolist()) == list(range(0, 200, 2))
