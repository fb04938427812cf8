"""Batches of training rows, from memory and from blocks of the store."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.features.column_format import Column
from mmfeat.features.column_reader import ColumnShard
from tests.training.data.numbered import TOKENS, RecordingLoader, numbered_reader
from tests.training.stores import Records, load, write_store
from training.data import shuffle
from training.data.batches import Batches
from training.data.dataset import Dataset
from training.data.feature_reader import FeatureReader
from training.data.resident import Batch
from training.data.shuffle import block_size, sample_balanced


def numbered_dataset(store: str, features: FeatureReader, rows: np.ndarray) -> Dataset:
    """A dataset whose targets are the row numbers."""
    targets = np.arange(rows[-1] + 1)
    return replace(load(store), features=features, targets=targets, split_rows={"train": rows})


def dataset_of(xor_store: str, sizes: list[int], rows: np.ndarray, *, in_memory: bool) -> Dataset:
    return numbered_dataset(xor_store, numbered_reader(sizes, in_memory=in_memory), rows)


def assert_own_features(batch: Batch) -> None:
    """Assert that each row has its own features, and that padding is zero."""
    number = batch.targets
    present = number % 5 != 0
    assert torch.equal(batch.present["pooled"], present)
    assert torch.equal(batch.features["pooled"][:, 0], torch.where(present, number, 0).float())
    counts = number % (TOKENS + 1)
    assert torch.equal(batch.present["tokens"], torch.arange(TOKENS) < counts[:, None])
    tokens = torch.where(batch.present["tokens"], number[:, None], 0).float()
    assert torch.equal(batch.features["tokens"][..., 1], tokens)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    percent=st.integers(1, 100),
    size=st.integers(1, 50),
    block=st.integers(1, 20),
    in_memory=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_an_epoch_has_every_training_row_once(
    xor_store: str,
    sizes: list[int],
    percent: int,
    size: int,
    block: int,
    in_memory: bool,
    seed: int,
) -> None:
    rows = np.flatnonzero(np.random.default_rng(seed).integers(0, 100, sum(sizes)) < percent)
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
            assert_own_features(batch)


def numbers(batches: Batches) -> list[int]:
    return torch.cat([batch.targets for batch in batches]).tolist()


@pytest.mark.parametrize("shuffled", [True, False])
def test_the_order_depends_on_the_seed_only(xor_store: str, shuffled: bool) -> None:
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


def test_a_shuffle_mixes_distant_blocks_and_opens_each_shard_once(xor_store: str) -> None:
    sizes = [100] * 40
    load = RecordingLoader(sizes)
    features = numbered_reader(sizes, load=load)
    batches = Batches(numbered_dataset(xor_store, features, np.arange(4000)), 100, block=100)
    first = next(iter(batches)).targets // 100
    assert len(set(first.tolist())) == shuffle.BLOCKS
    load.opened.clear()
    features = numbered_reader(sizes, load=load)
    numbers(Batches(numbered_dataset(xor_store, features, np.arange(4000)), 100, block=100))
    assert sorted(load.opened) == list(range(40))


def test_an_unfinished_epoch_leaves_no_thread(xor_store: str) -> None:
    dataset = dataset_of(xor_store, [100] * 10, np.arange(1000), in_memory=False)
    before = threading.active_count()
    epoch = iter(Batches(dataset, 10, block=20))
    next(epoch)
    epoch.close()
    assert threading.active_count() == before


def test_an_error_of_the_reading_thread_reaches_the_caller(xor_store: str) -> None:
    def fail(number: int) -> dict[str, ColumnShard]:
        raise OSError("gone")

    features = numbered_reader([100] * 10, load=fail)
    with pytest.raises(OSError, match="gone"):
        list(Batches(numbered_dataset(xor_store, features, np.arange(1000)), 10))


@pytest.mark.parametrize("in_memory", [True, False])
def test_balanced_sampling_has_every_class_equally_often(xor_store: str, in_memory: bool) -> None:
    dataset = dataset_of(xor_store, [500] * 4, np.arange(2000), in_memory=in_memory)
    classes = np.where(np.arange(2000) % 50 == 0, 2, np.arange(2000) % 2)
    batches = Batches(replace(dataset, targets=classes), 100, block=100, balanced=True)
    counts = Counter(numbers(batches))
    assert sum(counts.values()) == 2000
    assert max(counts.values()) - min(counts.values()) <= 5  # one per shuffle block


def test_balanced_sampling_uses_all_rows_of_a_class() -> None:
    classes = np.repeat([4, 9], [90, 10])
    sampled = sample_balanced(classes, np.random.default_rng(0))
    assert np.bincount(classes[sampled])[[4, 9]].tolist() == [50, 50]
    assert len(set(sampled[classes[sampled] == 4].tolist())) > 30


def test_large_rows_make_short_blocks() -> None:
    small = Column("x", "image", 512, "print", {})
    large = Column("y", "text", 1024, "print", {}, dtype="float32", max_tokens=256)
    assert block_size([small]) == shuffle.BLOCK
    assert block_size([large]) * shuffle.BLOCKS * 1024 * 4 * 256 <= 1 << 28


def test_rows_can_come_from_an_object_store(make_store: Callable[..., str]) -> None:
    values = np.arange(200)[:, None] * np.ones(4)
    labels = ([0] * 2 + [1] * 2) * 50
    records = Records({"x": values}, {"label": labels, "split": ["train", "val"] * 100})
    dataset = load(write_store("memory://batches/features", records, shards=5), access="blocks")
    features = torch.cat([batch.features["x"] for batch in Batches(dataset, 10, block=7)])
    assert sorted(features[:, 0].tolist()) == list(range(0, 200, 2))
