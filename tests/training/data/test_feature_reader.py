"""Rows are read as they stand in the store, in any order, from few shards at a time."""

from collections.abc import Callable

import numpy as np
import pytest

from mmfeat.features.store import FeatureStore
from tests.training.data.test_batches import columns, shards_of
from tests.training.stores import load
from training.data.feature_reader import FeatureRows, MemoryRows, mapped_rows

SIZES = [7, 1, 12, 20]


def rows_of_all(*, in_memory: bool) -> FeatureRows:
    shards = shards_of(SIZES)
    if not in_memory:
        return FeatureRows(columns(), np.cumsum([0, *SIZES]), shards.__getitem__, in_memory=False)
    memory = MemoryRows(columns(), sum(SIZES))
    for shard in shards:
        memory.add(shard)
    return memory.rows()


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    "rows",
    [
        np.arange(40),
        np.arange(8, 20),
        np.array([3]),
        np.array([0, 2, 3, 9, 11, 39]),
        np.array([39, 0, 8, 7, 7]),
    ],
    ids=["all", "a run", "one", "some", "any order"],
)
def test_what_is_gathered_is_what_is_taken(in_memory: bool, rows: np.ndarray) -> None:
    features = rows_of_all(in_memory=in_memory)
    gathered, (taken, present) = features.gather(rows), features.take(rows)
    np.testing.assert_array_equal(gathered["pooled"].features, taken["pooled"])
    np.testing.assert_array_equal(gathered["pooled"].present, present["pooled"])
    tokens = gathered["tokens"]
    np.testing.assert_array_equal(tokens.features, taken["tokens"][present["tokens"]])
    np.testing.assert_array_equal(np.diff(tokens.offsets), present["tokens"].sum(axis=1))
    np.testing.assert_array_equal(tokens.present, rows % 4 > 0)


def test_a_gathered_row_is_a_copy() -> None:
    features = rows_of_all(in_memory=True)
    features.gather(np.arange(3))["pooled"].features[:] = 99
    assert not (features.all()["pooled"].features == 99).any()


def test_all_rows_have_the_columns_that_are_asked_for() -> None:
    features = rows_of_all(in_memory=True)
    assert set(features.all()) == {"pooled", "tokens"}
    assert set(features.only(["pooled"]).all()) == {"pooled"}
    assert set(features.only(["pooled"]).gather(np.arange(2))) == {"pooled"}


def test_memory_and_memory_maps_hold_the_same(gap_store: str) -> None:
    memory = load(gap_store).features
    mapped = mapped_rows(FeatureStore(gap_store), memory.columns)
    rows = np.arange(0, 900, 7)
    for one, other in zip(memory.gather(rows).values(), mapped.gather(rows).values(), strict=True):
        np.testing.assert_array_equal(one.present, other.present)
        np.testing.assert_array_equal(one.features, other.features)


def test_few_shards_stay_open(make_store: Callable[..., str]) -> None:
    from tests.training.stores import Records, write_store

    store = Records({"x": np.ones((60, 2))}, {"label": [0, 1] * 30})
    path = write_store("memory://access/features", store, shards=20)
    features = mapped_rows(FeatureStore(path), list(FeatureStore(path).columns.values()))
    features.gather(np.arange(60))
    assert len(features._open) == 8
