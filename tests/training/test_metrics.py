"""The numbers against their definitions."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mmfeat.models.tasks import Multiclass
from training.calibration import COLDEST, ece, fit_temperature, nll
from training.objectives import OBJECTIVES

CLASSES = ["a", "b", "c"]


def measure(
    labels: list[str], scores: np.ndarray, present: dict[str, np.ndarray]
) -> dict[str, Any]:
    """What is reported of a model that knows `CLASSES`."""
    objective = OBJECTIVES["multiclass"]("label")
    objective.know(Multiclass(CLASSES))
    targets = objective.read(pa.table({"label": labels}))
    return objective.measure(targets, scores, np.zeros(3), present)


def one_hot(predicted: str, confidence: float = 0.8) -> np.ndarray:
    rest = (1 - confidence) / 2
    return np.array(
        [[confidence if name == letter else rest for name in CLASSES] for letter in predicted],
        np.float32,
    )


def test_scores_of_a_small_table_worked_out_by_hand() -> None:
    present = {"image": np.array([1, 1, 1, 1, 0, 0], bool), "text": np.ones(6, bool)}
    result = measure(list("aaabbc"), one_hot("aabbbb"), present)
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert result["macro_f1"] == pytest.approx((2 * 2 / 5 + 2 * 2 / 6 + 0) / 3)
    assert result["confusion_matrix"] == [[2, 1, 0], [0, 2, 0], [0, 1, 0]]
    assert result["per_class"]["a"] == pytest.approx(
        {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "support": 3}
    )
    assert result["per_class"]["c"]["support"] == 1


def test_subsets_are_named_by_what_is_there_and_add_up() -> None:
    present = {"image": np.array([1, 1, 0, 0, 0], bool), "text": np.array([1, 0, 1, 1, 1], bool)}
    result = measure(list("abcab"), one_hot("abcaa"), present)
    rows = {name: subset["rows"] for name, subset in result["per_subset"].items()}
    assert rows == {"text only": 3, "image+text": 1, "image only": 1}
    assert result["per_subset"]["text only"]["accuracy"] == pytest.approx(2 / 3)
    right = sum(s["rows"] * s["accuracy"] for s in result["per_subset"].values())
    assert right / sum(rows.values()) == pytest.approx(result["accuracy"])


def test_unseen_labels_are_errors_and_are_named() -> None:
    present = {"text": np.ones(4, bool)}
    result = measure(["a", "b", "new", "odd"], one_hot("abab"), present)
    assert result["accuracy"] == pytest.approx(0.5)
    assert result["balanced_accuracy"] == pytest.approx(0.5)
    assert result["unseen_labels"] == {"new": 1, "odd": 1}
    assert np.sum(result["confusion_matrix"]) + 2 == result["rows"] == 4
    assert result["nll"] == pytest.approx(-np.log(0.8))  # over the rows that have a probability


def test_auroc_is_none_where_one_class_is_all_there_is() -> None:
    present = {"text": np.ones(2, bool)}
    assert measure(["a", "a"], one_hot("ab"), present)["auroc"] is None


def test_ece_is_the_gap_between_confidence_and_accuracy() -> None:
    assert ece(one_hot("aaaa"), np.array([0, 0, 1, 1])) == pytest.approx(0.3, abs=1e-6)
    assert ece(one_hot("aaaaa"), np.array([0, 0, 0, 0, 1])) == pytest.approx(0.0, abs=1e-6)


def test_nll_of_certainty_is_zero_and_not_minus_zero() -> None:
    value = nll(np.array([[1.0, 0.0]]), np.array([0]))
    assert str(value) == "0.0"


def test_temperature_undoes_a_scaling_of_calibrated_logits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 4))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # labels drawn by softmax
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.03)
    assert fit_temperature(0.5 * logits, labels) == pytest.approx(0.5, rel=0.03)


def test_temperature_stays_bounded_where_nothing_is_wrong() -> None:
    assert fit_temperature(np.eye(3), np.arange(3)) == pytest.approx(COLDEST, rel=1e-3)


def test_temperature_of_labels_nobody_knows_is_one() -> None:
    assert fit_temperature(np.eye(3), np.full(3, -1)) == 1.0
