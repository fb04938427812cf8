"""Logistic regression by L-BFGS, against scikit-learn's on the same numbers."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as Peer
from sklearn.preprocessing import StandardScaler, normalize

from mmfeat.models.architecture import LOGISTIC, Architecture
from mmfeat.models.checkpoint import input_shapes
from mmfeat.models.inference import run
from mmfeat.models.tasks.multiclass import softmax
from tests.training.stores import load
from training.data.dataset import Dataset
from training.data.splits import TEST, TRAIN, VAL
from training.fit import logistic
from training.fit.fit_result import Fitted
from training.fit.logistic import solve
from training.fit.recipe import ProbeRecipe


def solved(dataset: Dataset, inverse_penalty: float, standardised: bool = False) -> Fitted:
    recipe = ProbeRecipe(
        metric="accuracy",
        seed=0,
        epochs=50,
        inverse_penalty=inverse_penalty,
        standardised=standardised,
    )
    layers = input_shapes(dataset.features.columns)
    outputs = dataset.objective.task.outputs
    return solve(Architecture(**layers, outputs=outputs, fusion=LOGISTIC), dataset, recipe)


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("inverse_penalty", [1.0, 100.0])
def test_it_finds_the_probabilities_scikit_learn_finds(
    gap_store: str, inverse_penalty: float, standardised: bool
) -> None:
    dataset = load(gap_store, ["text"])
    best = solved(dataset, inverse_penalty, standardised)
    train, test = dataset.parts[TRAIN], dataset.parts[TEST]
    everything = np.arange(len(dataset.targets))
    x = dataset.features.take(everything)[0]["text"].astype(np.float64)
    x = normalize(StandardScaler(with_std=standardised).fit(x[train]).transform(x))
    peer = Peer(C=inverse_penalty, tol=1e-6, max_iter=5000).fit(x[train], dataset.targets[train])
    ours = softmax(run(best.module, *dataset.features.take(test)).logits)
    np.testing.assert_allclose(ours, peer.predict_proba(x[test]), atol=2e-3)


def test_it_stops_where_the_loss_stands_still(gap_store: str) -> None:
    log = solved(load(gap_store, ["text"]), 1.0).log
    losses = [entry["loss"] for entry in log]
    assert 1 < len(log) < 20
    assert losses == sorted(losses, reverse=True)


def test_a_record_without_a_modality_is_judged_by_the_other(gap_store: str) -> None:
    both, text = load(gap_store, ["image", "text"]), load(gap_store, ["text"])
    rows = np.concatenate([both.parts[VAL], both.parts[TEST]])
    rows = rows[~both.present["image"][rows] & np.isin(both.targets[rows], (0, 1, 2))]
    assert len(rows) > 20
    logits = run(solved(both, 10.0).module, *both.features.take(rows)).logits
    alone = run(solved(text, 10.0).module, *text.features.take(rows)).logits
    labels = both.targets[rows]
    right, expected = ((a.argmax(axis=1) == labels).mean() for a in (logits, alone))
    assert right >= expected - 0.1


def test_alone_it_cannot_tell_an_exclusive_or(big_xor_store: str) -> None:
    dataset = load(big_xor_store, ["image", "text"])
    test = dataset.parts[TEST]
    logits = run(solved(dataset, 10.0).module, *dataset.features.take(test)).logits
    score = logits[:, 1] - logits[:, 0]
    right = (score > np.median(score)) == (dataset.targets[test] == 1)
    assert right.mean() == pytest.approx(0.5, abs=0.04)


def test_rows_that_are_scaled_anew_in_every_pass_give_the_same(
    gap_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load(gap_store, ["image", "text"])
    kept = solved(dataset, 10.0, standardised=True)
    monkeypatch.setattr(logistic, "_KEPT", 0)
    anew = solved(dataset, 10.0, standardised=True)
    for name, value in kept.module.state_dict().items():
        np.testing.assert_array_equal(anew.module.state_dict()[name], value, err_msg=name)
