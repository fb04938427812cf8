"""Feature rows by number, from memory and from shards."""

import numpy as np
import pytest

from mmfeat.features.store import FeatureStore
from tests.training.data.numbered import RecordingLoader, numbered_reader
from tests.training.stores import load
from training.data.feature_reader import store_reader

SIZES = [7, 1, 12, 20]


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    "rows",
    [
        np.arange(40),
        np.arange(8, 20),
        np.array([3]),
        np.array([0, 2, 3, 9, 11, 39]),
        np.array([39, 0, 8, 7, 7]),
        np.array([], np.int64),
    ],
    ids=["all", "consecutive", "one", "some", "any order", "none"],
)
def test_gather_and_take_return_the_same_rows(in_memory: bool, rows: np.ndarray) -> None:
    features = numbered_reader(SIZES, in_memory=in_memory)
    gathered, (taken, present) = features.gather(rows), features.take(rows)
    np.testing.assert_array_equal(gathered["pooled"].features, taken["pooled"])
    np.testing.assert_array_equal(gathered["pooled"].present, present["pooled"])
    tokens = gathered["tokens"]
    np.testing.assert_array_equal(tokens.features, taken["tokens"][present["tokens"]])
    np.testing.assert_array_equal(np.diff(tokens.offsets), present["tokens"].sum(axis=1))
    np.testing.assert_array_equal(tokens.present, rows % 4 > 0)
    np.testing.assert_array_equal(taken["pooled"][:, 0], np.where(rows % 5 > 0, rows, 0))


def test_gather_copies() -> None:
    features = numbered_reader(SIZES, in_memory=True)
    features.gather(np.arange(3))["pooled"].features[:] = 99
    assert not (features.all_rows()["pooled"].features == 99).any()


def test_select_columns() -> None:
    features = numbered_reader(SIZES, in_memory=True)
    assert set(features.all_rows()) == {"pooled", "tokens"}
    pooled = features.select_columns(["pooled"])
    assert set(pooled.all_rows()) == {"pooled"}
    assert set(pooled.gather(np.arange(2))) == {"pooled"}


def test_memory_and_store_hold_the_same(gap_store: str) -> None:
    memory = load(gap_store).features
    mapped = store_reader(FeatureStore(gap_store), memory.columns)
    rows = np.arange(0, 900, 7)
    for one, other in zip(memory.gather(rows).values(), mapped.gather(rows).values(), strict=True):
        np.testing.assert_array_equal(one.present, other.present)
        np.testing.assert_array_equal(one.features, other.features)


def test_eight_shards_stay_open() -> None:
    sizes = [3] * 20
    load = RecordingLoader(sizes)
    features = numbered_reader(sizes, load=load)
    features.gather(np.arange(60))
    assert load.opened == list(range(20))
    load.opened.clear()
    features.gather(np.arange(36, 60))
    assert load.opened == []
    features.gather(np.arange(33, 36))
    assert load.opened == [11]
