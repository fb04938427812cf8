"""Ridge regression, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from mmfeat.models.architecture import RIDGE, Architecture
from mmfeat.models.saved_model import input_shapes
from tests.training.stores import Records, load, write_store
from training.data.dataset import Dataset
from training.data.split_rule import TEST, TRAIN
from training.fit.fit_result import FitResult, compute_logits
from training.fit.linear import fit_ridge
from training.recipe import RIDGE_PENALTIES, RidgeRecipe


def fit(dataset: Dataset, *penalties: float, metric: str = "accuracy") -> list[FitResult]:
    layers = input_shapes(dataset.features.columns)
    outputs = dataset.objective.task.outputs
    return fit_ridge(
        Architecture(**layers, outputs=outputs, fusion=RIDGE),
        dataset,
        [RidgeRecipe(metric=metric, seed=0, epochs=1, inverse_penalty=c) for c in penalties],
    )


def inputs(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    x = dataset.features.take(rows)[0]["text"].astype(np.float64)
    train = dataset.features.take(dataset.split_rows[TRAIN])[0]["text"].astype(np.float64)
    return normalize(x - train.mean(axis=0))


@pytest.mark.parametrize("inverse_penalty", [0.1, 100.0])
def test_logits_equal_those_of_scikit_learn(gap_store: str, inverse_penalty: float) -> None:
    dataset = load(gap_store, ["text"])
    (best,) = fit(dataset, inverse_penalty)
    train, test = dataset.split_rows[TRAIN], dataset.split_rows[TEST]
    targets = np.eye(3)[dataset.targets[train]] * 2 - 1
    reference = Ridge(alpha=1 / inverse_penalty).fit(inputs(dataset, train), targets)
    np.testing.assert_allclose(
        compute_logits(best.module, dataset, test),
        reference.predict(inputs(dataset, test)),
        atol=1e-5,
    )


def test_more_values_than_rows(tmp_path: object) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 200))
    splits = np.array(["train", "train", "val", "test"])[np.arange(80) % 4].tolist()
    target = (x[:, 0] + rng.normal(0, 0.1, 80)).tolist()
    store = write_store(
        str(tmp_path), Records({"text": x}, {"label": target, "split": splits}), shards=3
    )
    dataset = load(store, task="regression")
    (best,) = fit(dataset, 10.0, metric="mae")
    train, test = dataset.split_rows[TRAIN], dataset.split_rows[TEST]
    reference = Ridge(alpha=0.1).fit(inputs(dataset, train), dataset.targets[train])
    scores = dataset.objective.task.to_scores(compute_logits(best.module, dataset, test), 1.0)[:, 0]
    deviation = dataset.targets[train].std()
    standardized = Ridge(alpha=0.1).fit(
        inputs(dataset, train), (dataset.targets[train] - dataset.targets[train].mean()) / deviation
    )
    np.testing.assert_allclose(scores, reference.predict(inputs(dataset, test)), atol=1e-3)
    np.testing.assert_allclose(
        compute_logits(best.module, dataset, test)[:, 0],
        standardized.predict(inputs(dataset, test)),
        atol=1e-4,
    )


def test_penalties_together_and_alone_give_the_same(gap_store: str) -> None:
    dataset = load(gap_store)
    together = fit(dataset, *RIDGE_PENALTIES)
    alone = [fit(dataset, penalty)[0] for penalty in RIDGE_PENALTIES]
    rows = dataset.split_rows[TEST]
    for first, second in zip(together, alone, strict=True):
        np.testing.assert_allclose(
            compute_logits(first.module, dataset, rows),
            compute_logits(second.module, dataset, rows),
            atol=1e-5,
        )
