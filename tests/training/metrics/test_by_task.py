"""Metrics and calibration against their definitions."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from mmfeat.models.tasks import Multiclass, Multilabel
from mmfeat.models.tasks.multiclass import softmax
from mmfeat.models.tasks.multilabel import sigmoid
from training.metrics import by_task, calibration, ranking
from training.metrics.by_task import evaluate_multilabel, multilabel_metrics
from training.metrics.calibration import (
    binary_ece,
    binary_nll,
    ece,
    fit_binary_temperature,
    fit_temperature,
    nll,
)
from training.objectives.registry import OBJECTIVES

CLASSES = ["a", "b", "c"]


def evaluate(
    labels: list[str], scores: np.ndarray, present: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return the metrics of a model with `CLASSES`."""
    objective = OBJECTIVES["multiclass"]("label")
    objective.bind_task(Multiclass(CLASSES))
    targets = objective.read_targets(pa.table({"label": labels}))
    return objective.evaluate(targets, scores, np.zeros(3), present)


def one_hot(predicted: str, confidence: float = 0.8) -> np.ndarray:
    rest = (1 - confidence) / 2
    return np.array(
        [[confidence if name == letter else rest for name in CLASSES] for letter in predicted],
        np.float32,
    )


def test_multiclass_metrics_by_hand() -> None:
    present = {"image": np.array([1, 1, 1, 1, 0, 0], bool), "text": np.ones(6, bool)}
    result = evaluate(list("aaabbc"), one_hot("aabbbb"), present)
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert result["macro_f1"] == pytest.approx((2 * 2 / 5 + 2 * 2 / 6 + 0) / 3)
    assert result["confusion_matrix"] == [[2, 1, 0], [0, 2, 0], [0, 1, 0]]
    assert result["per_class"]["a"] == pytest.approx(
        {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "support": 3}
    )
    assert result["per_class"]["c"]["support"] == 1


def test_subsets_are_named_by_modalities_and_add_up() -> None:
    present = {"image": np.array([1, 1, 0, 0, 0], bool), "text": np.array([1, 0, 1, 1, 1], bool)}
    result = evaluate(list("abcab"), one_hot("abcaa"), present)
    rows = {name: subset["rows"] for name, subset in result["per_subset"].items()}
    assert rows == {"text only": 3, "image+text": 1, "image only": 1}
    assert result["per_subset"]["text only"]["accuracy"] == pytest.approx(2 / 3)
    correct = sum(s["rows"] * s["accuracy"] for s in result["per_subset"].values())
    assert correct / sum(rows.values()) == pytest.approx(result["accuracy"])


def test_unseen_labels_are_errors_and_counted() -> None:
    present = {"text": np.ones(4, bool)}
    result = evaluate(["a", "b", "new", "odd"], one_hot("abab"), present)
    assert result["accuracy"] == pytest.approx(0.5)
    assert result["balanced_accuracy"] == pytest.approx(0.5)
    assert result["unseen_labels"] == {"new": 1, "odd": 1}
    assert np.sum(result["confusion_matrix"]) + 2 == result["rows"] == 4
    assert result["nll"] == pytest.approx(-np.log(0.8))  # over rows with a known label


def test_a_class_without_rows_has_no_metrics() -> None:
    result = evaluate(list("aab"), one_hot("abc"), {"text": np.ones(3, bool)})
    assert result["per_class"]["c"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert result["per_class"]["b"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    truth = np.array([[1, 0], [1, 0]], np.uint8)
    result = evaluate_multilabel(
        truth, truth.astype(np.float32), np.full(2, 0.5), {"x": np.ones(2, bool)}, ["a", "b"]
    )
    assert [result["per_class"]["b"][name] for name in ("precision", "recall", "f1")] == [None] * 3
    assert result["per_class"]["a"]["f1"] == 1


def test_auroc_of_one_class_is_none() -> None:
    present = {"text": np.ones(2, bool)}
    assert evaluate(["a", "a"], one_hot("ab"), present)["auroc"] is None


def test_ece_is_the_gap_between_confidence_and_accuracy() -> None:
    assert ece(one_hot("aaaa"), np.array([0, 0, 1, 1])) == pytest.approx(0.3, abs=1e-6)
    assert ece(one_hot("aaaaa"), np.array([0, 0, 0, 0, 1])) == pytest.approx(0.0, abs=1e-6)


def test_nll_of_certainty_is_not_minus_zero() -> None:
    assert str(nll(np.array([[1.0, 0.0]]), np.array([0]))) == "0.0"


def test_temperature_undoes_scaled_logits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 4))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # sampled by softmax
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.03)
    assert fit_temperature(0.5 * logits, labels) == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("rows", [3, 30, 300])
def test_one_more_mistake_than_validation_has_is_expected(rows: int) -> None:
    """Platt 1999: the probability of the class is (N + 1) / (N + 2), whatever the logits."""
    for gap in (1.0, 20.0):
        logits, labels = np.tile([gap, 0.0, -999.0], (rows, 1)), np.zeros(rows, np.int64)
        p = 1 / (1 + np.exp(-gap / fit_temperature(logits, labels)))
        assert p == pytest.approx((rows + 1) / (rows + 2), rel=1e-3)
        targets = np.tile([1, 0], (rows, 1))
        temperature = fit_binary_temperature(np.tile([gap, -gap], (rows, 1)), targets)
        assert sigmoid(np.array(gap / temperature)) == pytest.approx((rows + 1) / (rows + 2))


def test_the_expected_mistake_fades_with_the_mistakes_that_there_are() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (500, 4))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    assert (logits.argmax(axis=1) != labels).sum() > 50
    temperatures = np.geomspace(0.5, 2, 400)
    best = min(temperatures, key=lambda t: nll(softmax(logits / t), labels) or 0)
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=0.02)


def test_temperature_without_known_labels_is_one() -> None:
    assert fit_temperature(np.eye(3), np.full(3, -1)) == 1.0


LABELS = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1], [0, 0, 1]], np.uint8)
"""No row has the second label, every row has the third."""
SCORES = np.array([[0.9, 0.1, 0.8], [0.6, 0.7, 0.9], [0.4, 0.2, 0.3], [0.3, 0.1, 0.6]], np.float32)


def test_multilabel_metrics_by_hand() -> None:
    scores = multilabel_metrics(LABELS, SCORES, 0.5)
    # Only the first label can be ranked: correct at ranks 1 and 3.
    assert scores["map"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["auroc"] == pytest.approx(3 / 4)
    # Predicted: .9 .6 of the first, .7 of the second, .8 .9 .6 of the third; correct: 1, 0, 3.
    assert scores["macro_f1"] == pytest.approx((2 * 1 / (2 + 2) + 2 * 3 / (3 + 4)) / 2)
    assert scores["micro_f1"] == pytest.approx(2 * 4 / (6 + 6))
    assert scores["subset_accuracy"] == pytest.approx(2 / 4)


def test_multilabel_metrics_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((60, 4)) < 0.4).astype(np.uint8)
    scores = rng.random((60, 4)).astype(np.float32)
    thresholds = np.array([0.3, 0.5, 0.7, 0.99], np.float32)
    predicted = scores >= thresholds
    result = evaluate_multilabel(truth, scores, thresholds, {"x": np.ones(60, bool)}, list("abcd"))
    assert result["macro_f1"] == pytest.approx(
        f1_score(truth, predicted, average="macro", zero_division=0)
    )
    assert result["micro_f1"] == pytest.approx(f1_score(truth, predicted, average="micro"))
    assert result["map"] == pytest.approx(average_precision_score(truth, scores, average="macro"))
    for number, name in enumerate("abcd"):
        entry, column = result["per_class"][name], (truth[:, number], predicted[:, number])
        assert entry["f1"] == pytest.approx(f1_score(*column, zero_division=0))
        assert entry["recall"] == pytest.approx(recall_score(*column))
        assert entry["precision"] == pytest.approx(precision_score(*column, zero_division=0))
        assert entry["support"] == truth[:, number].sum()


def test_undefined_multilabel_metrics_are_none() -> None:
    scores = multilabel_metrics(np.zeros((3, 2), np.uint8), np.zeros((3, 2), np.float32), 0.5)
    assert (scores["map"], scores["auroc"], scores["macro_f1"]) == (None, None, None)
    assert (scores["micro_f1"], scores["subset_accuracy"]) == (0.0, 1.0)


def test_binary_temperature_undoes_scaled_logits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 3))
    targets = (rng.random(logits.shape) < sigmoid(logits)).astype(np.uint8)
    assert fit_binary_temperature(3 * logits, targets) == pytest.approx(3, rel=0.05)
    assert fit_binary_temperature(np.empty((0, 3)), np.empty((0, 3))) == 1.0


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_temperature_never_raises_the_fitted_nll(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    logits = (rng.normal(0, scale, (50, 3))).astype(np.float32)
    labels, flags = rng.integers(0, 3, 50), rng.integers(0, 2, (50, 3))
    classes, several = Multiclass(CLASSES), Multilabel(CLASSES)
    # With more than ten mistakes of 50 rows, one more hardly matters.
    best = fit_temperature(logits, labels)
    assert nll_at(classes, logits, labels, best) <= nll_at(classes, logits, labels, 1.0) + 0.01
    best = fit_binary_temperature(logits, flags)
    after, before = (binary_nll(several.to_scores(logits, t), flags) for t in (best, 1.0))
    assert after <= before + 0.01


def nll_at(task: Multiclass, logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    value = nll(task.to_scores(logits, temperature), labels)
    assert value is not None
    return value


def test_binary_ece_is_the_gap_between_probability_and_frequency() -> None:
    p = np.full((10, 1), 0.7, np.float32)
    flags = (np.arange(10) < 4).astype(np.uint8)[:, None]
    assert binary_ece(p, flags) == pytest.approx(0.3, abs=1e-6)


def test_temperature_is_fitted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 3)).astype(np.float32)
    labels = rng.integers(-1, 3, 500)
    whole = fit_temperature(logits, labels)
    monkeypatch.setattr(calibration, "_PART_ROWS", 64)
    assert fit_temperature(logits, labels) == whole


def test_metrics_in_parts_are_those_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    scores = rng.dirichlet(np.ones(3), 500).astype(np.float32)
    labels, present = [*rng.choice(["a", "b", "c", "new"], 500)], {"x": rng.random(500) < 0.5}
    whole = evaluate(labels, scores, present)
    for module in (by_task, calibration, ranking):
        monkeypatch.setattr(module, "_PART_ROWS", 64)
    assert evaluate(labels, scores, present) == whole
