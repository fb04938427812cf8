"""Kernel ridge regression in closed form, and the settings that few rows choose."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmfeat.features import FeatureStore
from mmfeat.models.linear import squared_distances
from tests.training.stores import load, make_splits
from training.search.candidate import Judge
from training.search.folds import make_folds
from training.search.linear import choice as choice_module
from training.search.linear.choice import sample_choice_rows
from training.search.linear.inputs import PLAIN, WEIGHTED, find_scalings
from training.search.linear.kernel import PENALTIES, fit_kernel
from training.search.linear.kernel_candidate import fit_kernel_candidate

MakeStore = Callable[..., str]


def make_kernel(rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(rows, 4, generator=generator))
    inputs = [(x, torch.ones(rows, 1, dtype=torch.bool))]
    kernel = torch.exp(-squared_distances(inputs, inputs).double()) + 1
    return (kernel + kernel.T) / 2


def test_weights_equal_scikit_learn_and_left_out_blocks_equal_models_without_them() -> None:
    from sklearn.kernel_ridge import KernelRidge

    kernel = make_kernel(30)
    y = torch.randn(30, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    parts = list(torch.arange(28).split(7))
    fit = fit_kernel(kernel, y, 0.1, parts)
    reference = KernelRidge(alpha=0.1, kernel="precomputed").fit(kernel.numpy(), y.numpy())
    np.testing.assert_allclose(fit.weights.numpy(), reference.dual_coef_, rtol=1e-6)
    for part in parts:
        kept = np.setdiff1d(np.arange(30), part.numpy())
        reference.fit(kernel[kept][:, kept].numpy(), y[kept].numpy())
        expected = reference.predict(kernel[part][:, kept].numpy())
        np.testing.assert_allclose(fit.left_out[part].numpy(), expected, rtol=1e-6, atol=1e-9)
    assert torch.equal(fit.left_out[28:], y[28:])


def test_a_kernel_that_is_not_finite_is_an_error() -> None:
    kernel = make_kernel(6)
    kernel[3] = torch.nan
    with pytest.raises(RuntimeError):
        fit_kernel(kernel, torch.zeros(6, 1, dtype=torch.float64), 0.1, [])


@pytest.mark.parametrize("folds", [0, 4])
def test_few_rows_choose_settings_of_left_out_blocks(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, folds: int
) -> None:
    monkeypatch.setattr(choice_module, "_MAX_ROWS", 60)
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 200)
    # One value tells the class, and others of a hundred times its size are noise.
    image = np.concatenate([rng.normal(0, 100, (200, 5)), classes[:, None] * 2.0 - 1], axis=1)
    labels = [f"c{c}" for c in classes]
    path = make_store(
        features={"image": image}, metadata={"label": labels, "split": make_splits(200)}
    )
    dataset = load(path)
    found = sample_choice_rows(make_folds(dataset, FeatureStore(path), folds), dataset)
    assert found
    assert len(found.rows) <= 60
    positions = np.concatenate([part.numpy() for part in found.parts])
    if folds:
        assert sorted(positions) == list(range(len(found.rows)))
    else:
        np.testing.assert_array_equal(
            np.isin(found.rows, dataset.split_rows["val"]).nonzero()[0], positions
        )
    scalings = find_scalings(dataset)
    assert found.choose_scaling(scalings, [1.0, 10.0]) == WEIGHTED
    assert found.choose_scaling({PLAIN: scalings[PLAIN]}, [1.0]) == PLAIN
    gamma, penalty = found.choose_kernel(scalings[WEIGHTED], PENALTIES)
    assert gamma > 0
    assert penalty in PENALTIES


def test_one_block_chooses_nothing(make_store: MakeStore) -> None:
    features = {"image": np.eye(4)}
    path = make_store(
        features=features,
        metadata={"label": ["a", "b", "a", "b"], "split": ["train", "train", "train", "val"]},
    )
    dataset = load(path)
    folds = make_folds(dataset, FeatureStore(path), 0)
    folds.rows.setflags(write=True)
    dataset.targets[folds.rows] = 2  # a class that no training row has
    assert sample_choice_rows(folds, dataset) is None


def test_a_refitted_kernel_model_has_the_rows_of_both_splits(make_store: MakeStore) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(100, 4))
    labels = ["ab"[int(x > 0)] for x in image[:, 0]]
    path = make_store(
        features={"image": image}, metadata={"label": labels, "split": make_splits(100)}
    )
    dataset = load(path)
    folds = make_folds(dataset, FeatureStore(path), 0)
    both = np.sort(np.concatenate([dataset.split_rows[split] for split in ("train", "val")]))
    splits = {**dataset.split_rows, "train": both}
    refitting = replace(folds, final=replace(dataset, split_rows=splits))
    judge = Judge(dataset.objective, dataset.targets[folds.rows], "accuracy")
    scaling = find_scalings(dataset)[PLAIN]
    found = sample_choice_rows(folds, dataset)
    assert found
    models = []
    for rows_of in (folds, refitting):
        (candidate,) = fit_kernel_candidate(rows_of, judge, found, PLAIN, scaling, PENALTIES)
        (model,) = candidate.build()
        models.append(model)
    assert [model.architecture.support for model in models] == [
        len(dataset.split_rows["train"]), len(both)
    ]  # fmt: skip
