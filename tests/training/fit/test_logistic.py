"""Logistic regression, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler, normalize

from mmfeat.models.architecture import LOGISTIC, Architecture
from mmfeat.models.inference import run_model
from mmfeat.models.saved_model import input_shapes
from mmfeat.models.tasks.multiclass import softmax
from tests.training.stores import load
from training.data.dataset import Dataset
from training.data.split_rule import TEST, TRAIN, VAL
from training.fit import linear
from training.fit.candidates import fit_recipes
from training.fit.fit_result import FitResult
from training.fit.linear import fit_logistic
from training.recipe import LogisticRecipe


def fit(dataset: Dataset, inverse_penalty: float, standardised: bool = False) -> FitResult:
    recipe = LogisticRecipe(
        metric="accuracy",
        seed=0,
        epochs=50,
        inverse_penalty=inverse_penalty,
        standardised=standardised,
    )
    layers = input_shapes(dataset.features.columns)
    outputs = dataset.objective.task.outputs
    return fit_logistic(Architecture(**layers, outputs=outputs, fusion=LOGISTIC), dataset, recipe)


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("inverse_penalty", [1.0, 100.0])
def test_probabilities_equal_those_of_scikit_learn(
    gap_store: str, inverse_penalty: float, standardised: bool
) -> None:
    dataset = load(gap_store, ["text"])
    best = fit(dataset, inverse_penalty, standardised)
    train, test = dataset.split_rows[TRAIN], dataset.split_rows[TEST]
    all_rows = np.arange(len(dataset.targets))
    x = dataset.features.take(all_rows)[0]["text"].astype(np.float64)
    x = normalize(StandardScaler(with_std=standardised).fit(x[train]).transform(x))
    reference = LogisticRegression(C=inverse_penalty, tol=1e-6, max_iter=5000).fit(
        x[train], dataset.targets[train]
    )
    probabilities = softmax(run_model(best.module, *dataset.features.take(test)).logits)
    np.testing.assert_allclose(probabilities, reference.predict_proba(x[test]), atol=2e-3)


def test_it_stops_at_convergence(gap_store: str) -> None:
    log = fit(load(gap_store, ["text"]), 1.0).log
    losses = [entry["loss"] for entry in log]
    assert 1 < len(log) < 20
    assert losses == sorted(losses, reverse=True)


def test_one_missing_modality_costs_little(gap_store: str) -> None:
    both, text = load(gap_store, ["image", "text"]), load(gap_store, ["text"])
    rows = np.concatenate([both.split_rows[VAL], both.split_rows[TEST]])
    rows = rows[~both.present["image"][rows] & np.isin(both.targets[rows], (0, 1, 2))]
    assert len(rows) > 20
    logits = run_model(fit(both, 10.0).module, *both.features.take(rows)).logits
    alone = run_model(fit(text, 10.0).module, *text.features.take(rows)).logits
    labels = both.targets[rows]
    accuracy, expected = ((a.argmax(axis=1) == labels).mean() for a in (logits, alone))
    assert accuracy >= expected - 0.1


def test_it_cannot_learn_an_exclusive_or(big_xor_store: str) -> None:
    dataset = load(big_xor_store, ["image", "text"])
    test = dataset.split_rows[TEST]
    logits = run_model(fit(dataset, 10.0).module, *dataset.features.take(test)).logits
    score = logits[:, 1] - logits[:, 0]
    correct = (score > np.median(score)) == (dataset.targets[test] == 1)
    assert correct.mean() == pytest.approx(0.5, abs=0.04)


def test_a_cache_does_not_change_the_weights(
    gap_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load(gap_store, ["image", "text"])
    cached = fit(dataset, 10.0, standardised=True)
    monkeypatch.setattr(linear, "MAX_CACHED_BYTES", 0)
    uncached = fit(dataset, 10.0, standardised=True)
    for name, value in cached.module.state_dict().items():
        np.testing.assert_array_equal(uncached.module.state_dict()[name], value, err_msg=name)


def test_solutions_start_from_that_of_the_next_smaller_c(
    gap_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same minima as from 0, in fewer evaluations of the loss."""
    dataset = load(gap_store, ["text"])
    recipes = [
        LogisticRecipe(
            metric="accuracy", seed=0, epochs=50, inverse_penalty=c, standardised=standardised
        )
        for standardised in (False, True)
        for c in (3.0, 10.0, 30.0, 100.0)
    ]
    calls = []
    penalty = linear.LinearModel.penalty
    monkeypatch.setattr(
        linear.LinearModel, "penalty", lambda model: calls.append(1) or penalty(model)
    )
    layers = input_shapes(dataset.features.columns)
    architecture = Architecture(**layers, outputs=dataset.objective.task.outputs, fusion=LOGISTIC)
    warm = fit_recipes(architecture, dataset, recipes)
    warm_calls = len(calls)
    cold = [fit_logistic(architecture, dataset, recipe) for recipe in recipes]
    assert warm_calls < len(calls) - warm_calls
    for a, b in zip(warm, cold, strict=True):
        assert a.log[-1]["loss"] == pytest.approx(b.log[-1]["loss"], rel=1e-3)
        assert a.score == pytest.approx(b.score, abs=0.005)
