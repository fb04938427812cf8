"""Scaling of the inputs of linear models."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.training.stores import load
from training.fit.linear import dense_columns, find_scaling


@pytest.fixture
def store(make_store: Callable[..., str]) -> str:
    """A dense column with a constant value, and a sparse column; both with gaps."""
    rng = np.random.default_rng(0)
    dense = rng.normal(3, [1, 10, 0], (90, 3))
    sparse = rng.random((90, 3)) * (rng.random((90, 3)) < 0.2)
    return make_store(
        features={"dense": dense, "sparse": sparse},
        metadata={
            "label": ["a", "b", "a"] * 30,
            "split": (["train"] * 4 + ["val"]) * 18,
        },
        present={name: rng.random(90) < 0.9 for name in ("dense", "sparse")},
    )


def test_scaling_uses_the_present_training_rows(store: str) -> None:
    dataset = load(store)
    features, present = dataset.features.take(dataset.split_rows["train"])
    scalings = find_scaling(dataset, standardised=True)
    for name, scaling in scalings.items():
        x = features[name][present[name]].astype(np.float64)
        np.testing.assert_allclose(scaling.mean, x.mean(axis=0), rtol=1e-5)
    x = features["dense"][present["dense"]].astype(np.float64)
    np.testing.assert_allclose(scalings["dense"].scale[:2], 1 / x.std(axis=0)[:2], rtol=1e-5)
    assert scalings["dense"].scale[2] == 0


def test_a_sparse_column_is_not_divided(store: str) -> None:
    dataset = load(store)
    assert dense_columns(dataset) == {"dense"}
    assert torch.equal(find_scaling(dataset, standardised=True)["sparse"].scale, torch.ones(3))


def test_nothing_is_divided_by_default(store: str) -> None:
    for scaling in find_scaling(load(store), standardised=False).values():
        assert torch.equal(scaling.scale, torch.ones(3))
