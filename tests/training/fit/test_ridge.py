"""Ridge regression, against scikit-learn's on the same numbers."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from mmfeat.models.architecture import RIDGE, Architecture
from mmfeat.models.checkpoint import input_shapes
from tests.training.stores import Records, load, write_store
from training.data.dataset import Dataset
from training.data.splits import TEST, TRAIN
from training.fit.fit_result import Fitted, logits_of
from training.fit.recipe import RIDGE_PENALTIES, RidgeRecipe
from training.fit.ridge import solve_ridge


def solved(dataset: Dataset, *penalties: float, metric: str = "accuracy") -> list[Fitted]:
    layers = input_shapes(dataset.features.columns)
    outputs = dataset.objective.task.outputs
    return solve_ridge(
        Architecture(**layers, outputs=outputs, fusion=RIDGE),
        dataset,
        [RidgeRecipe(metric=metric, seed=0, epochs=1, inverse_penalty=c) for c in penalties],
    )


def inputs(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    x = dataset.features.take(rows)[0]["text"].astype(np.float64)
    train = dataset.features.take(dataset.parts[TRAIN])[0]["text"].astype(np.float64)
    return normalize(x - train.mean(axis=0))


@pytest.mark.parametrize("inverse_penalty", [0.1, 100.0])
def test_it_finds_the_weights_scikit_learn_finds(gap_store: str, inverse_penalty: float) -> None:
    dataset = load(gap_store, ["text"])
    (best,) = solved(dataset, inverse_penalty)
    train, test = dataset.parts[TRAIN], dataset.parts[TEST]
    wanted = np.eye(3)[dataset.targets[train]] * 2 - 1
    peer = Ridge(alpha=1 / inverse_penalty).fit(inputs(dataset, train), wanted)
    np.testing.assert_allclose(
        logits_of(best.module, dataset, test), peer.predict(inputs(dataset, test)), atol=1e-5
    )


def test_more_values_than_rows_give_the_same_as_fewer(tmp_path: object) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 200))
    splits = np.array(["train", "train", "val", "test"])[np.arange(80) % 4].tolist()
    target = (x[:, 0] + rng.normal(0, 0.1, 80)).tolist()
    store = write_store(
        str(tmp_path), Records({"text": x}, {"label": target, "split": splits}), shards=3
    )
    dataset = load(store, task="regression")
    (best,) = solved(dataset, 10.0, metric="mae")
    train, test = dataset.parts[TRAIN], dataset.parts[TEST]
    peer = Ridge(alpha=0.1).fit(inputs(dataset, train), dataset.targets[train])
    ours = dataset.objective.task.scores(logits_of(best.module, dataset, test), 1.0)[:, 0]
    deviation = dataset.targets[train].std()
    peer_scaled = Ridge(alpha=0.1).fit(
        inputs(dataset, train), (dataset.targets[train] - dataset.targets[train].mean()) / deviation
    )
    np.testing.assert_allclose(ours, peer.predict(inputs(dataset, test)), atol=1e-3)
    np.testing.assert_allclose(
        logits_of(best.module, dataset, test)[:, 0],
        peer_scaled.predict(inputs(dataset, test)),
        atol=1e-4,
    )


def test_all_penalties_come_from_one_decomposition(gap_store: str) -> None:
    dataset = load(gap_store)
    together = solved(dataset, *RIDGE_PENALTIES)
    alone = [solved(dataset, penalty)[0] for penalty in RIDGE_PENALTIES]
    rows = dataset.parts[TEST]
    for first, second in zip(together, alone, strict=True):
        np.testing.assert_allclose(
            logits_of(first.module, dataset, rows),
            logits_of(second.module, dataset, rows),
            atol=1e-5,
        )
