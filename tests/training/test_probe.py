"""Logistic regression by L-BFGS, against scikit-learn's on the same numbers."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as Peer
from sklearn.preprocessing import normalize

from mmfeat.features import FeatureStore
from mmfeat.models.architecture import LOGISTIC, Architecture
from mmfeat.models.inference import run, softmax
from training.data import Dataset, load_dataset
from training.fitted import Fitted
from training.probe import solve
from training.recipe import ProbeRecipe
from training.splits import TEST, TRAIN


def load(path: str, *columns: str) -> Dataset:
    return load_dataset(FeatureStore(path), columns, "label", "split")


def solved(dataset: Dataset, inverse_penalty: float) -> Fitted:
    dims = {name: values.shape[1] for name, values in dataset.features.items()}
    recipe = ProbeRecipe(metric="accuracy", seed=0, epochs=50, inverse_penalty=inverse_penalty)
    return solve(Architecture(dims, len(dataset.classes), LOGISTIC), dataset, recipe)


@pytest.mark.parametrize("inverse_penalty", [1.0, 100.0])
def test_it_finds_the_probabilities_scikit_learn_finds(
    gap_store: str, inverse_penalty: float
) -> None:
    dataset = load(gap_store, "text")
    best = solved(dataset, inverse_penalty)
    x = dataset.features["text"].astype(np.float64)
    x = normalize(x - x.mean(axis=1, keepdims=True))
    train, test = dataset.parts[TRAIN], dataset.parts[TEST]
    peer = Peer(C=inverse_penalty, tol=1e-6, max_iter=5000).fit(x[train], dataset.labels[train])
    ours = softmax(run(best.module, *dataset.features_of(test)).logits)
    np.testing.assert_allclose(ours, peer.predict_proba(x[test]), atol=2e-3)


def test_it_stops_where_the_loss_stands_still(gap_store: str) -> None:
    log = solved(load(gap_store, "text"), 1.0).log
    losses = [entry["loss"] for entry in log]
    assert 1 < len(log) < 20
    assert losses == sorted(losses, reverse=True)


def test_a_record_without_a_modality_is_judged_by_the_other(gap_store: str) -> None:
    both, text = load(gap_store, "image", "text"), load(gap_store, "text")
    rows = both.parts[TEST][both.labels[both.parts[TEST]] >= 0]
    rows = rows[~both.present["image"][rows]]
    assert len(rows) > 10
    logits = run(solved(both, 10.0).module, *both.features_of(rows)).logits
    alone = run(solved(text, 10.0).module, *text.features_of(rows)).logits
    labels = both.labels[rows]
    right, expected = ((a.argmax(axis=1) == labels).mean() for a in (logits, alone))
    assert right >= expected - 0.1


def test_alone_it_cannot_tell_an_exclusive_or(big_xor_store: str) -> None:
    dataset = load(big_xor_store, "image", "text")
    test = dataset.parts[TEST]
    logits = run(solved(dataset, 10.0).module, *dataset.features_of(test)).logits
    score = logits[:, 1] - logits[:, 0]
    right = (score > np.median(score)) == (dataset.labels[test] == 1)
    assert right.mean() == pytest.approx(0.5, abs=0.04)
