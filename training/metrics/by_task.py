"""The metrics that `mmfeat evaluate` reports, by task."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from training.metrics.calibration import binary_ece, binary_nll, ece, nll
from training.metrics.functions import METRICS
from training.metrics.multilabel import MULTILABEL_METRICS, multilabel_metric
from training.metrics.ranking import mean_auroc

Metrics = dict[str, float]

_PART_ROWS = 1 << 16
"""Rows that are counted at a time."""


def multiclass_metrics(truth: np.ndarray, predicted: np.ndarray) -> Metrics:
    """Return accuracy, balanced accuracy and macro-F1 of class numbers, shape (rows,) each."""
    return _multiclass_metrics(*_count_pairs(truth, predicted))


def _multiclass_metrics(truth: np.ndarray, predicted: np.ndarray, counts: np.ndarray) -> Metrics:
    names = ("accuracy", "balanced_accuracy", "macro_f1")
    return {name: METRICS[name].of_counts(truth, predicted, counts) for name in names}


def _count_pairs(
    truth: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct pairs of class numbers, and how often each occurs.

    There are far fewer pairs than rows, and every count of the confusion matrix is a sum of them.
    """
    base = int(predicted.max(initial=0)) + 1
    totals: Counter[int] = Counter()
    for start in range(0, len(truth), _PART_ROWS):
        part = slice(start, start + _PART_ROWS)
        pairs, counts = np.unique(truth[part] * base + predicted[part], return_counts=True)
        totals.update(dict(zip(pairs.tolist(), counts.tolist(), strict=True)))
    numbers = np.array(sorted(totals), np.int64)
    return numbers // base, numbers % base, np.array([totals[n] for n in numbers.tolist()])


def evaluate_multiclass(
    truth: np.ndarray,
    probabilities: np.ndarray,
    present: Mapping[str, np.ndarray],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Return all metrics of a multiclass model.

    Args:
        truth: int64, shape (rows,); numbers ≥ the number of classes are labels that the model does
            not know.
        probabilities: shape (rows, classes).
        present: column → bool, shape (rows,).
        classes: the classes of the model.
    """
    known = np.where(truth < len(classes), truth, -1)
    predicted = probabilities.argmax(axis=1)
    pairs = _count_pairs(truth, predicted)
    labels = ((known == number, probabilities[:, number]) for number in range(len(classes)))
    auroc = mean_auroc(labels)
    numbers = range(max(len(classes), int(truth.max(initial=0)) + 1))
    return {
        **_multiclass_metrics(*pairs),
        "auroc": None if np.isnan(auroc) else auroc,
        "nll": nll(probabilities, known),
        "ece": ece(probabilities, known),
        "rows": len(truth),
        "classes": list(classes),
        "per_class": _per_class(*pairs, classes),
        "confusion_matrix": confusion_matrix(*pairs[:2], labels=numbers, sample_weight=pairs[2])[
            : len(classes), : len(classes)
        ].tolist(),
        "per_subset": per_subset(
            present, lambda rows: multiclass_metrics(truth[rows], predicted[rows])
        ),
    }


def _per_class(
    truth: np.ndarray, predicted: np.ndarray, counts: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    columns = precision_recall_fscore_support(
        truth, predicted, labels=range(len(classes)), sample_weight=counts, zero_division=0
    )
    return {name: _class_metrics(*values) for name, *values in zip(classes, *columns, strict=True)}


def _class_metrics(precision: float, recall: float, f1: float, support: int) -> dict[str, Any]:
    """Return the metrics of one class; None if no row has the class."""
    values = {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
    return (values if support else dict.fromkeys(values)) | {"support": int(support)}


def multilabel_metrics(
    truth: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray | float
) -> dict[str, float | None]:
    """Return mAP, F1, AUROC and subset accuracy; None if undefined. See `multilabel_metric`."""
    values = {
        name: multilabel_metric(name, thresholds)(truth, probabilities)
        for name in MULTILABEL_METRICS
    }
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def _label_counts(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return for each label the numbers of true positives, predicted rows and true rows.

    Not by scikit-learn: it treats a single label as two classes.
    """
    has_label = truth > 0
    return (has_label & predicted).sum(axis=0), predicted.sum(axis=0), has_label.sum(axis=0)


def _f1(correct: np.ndarray, positives: np.ndarray, support: np.ndarray) -> np.ndarray:
    return _fraction(2 * correct, positives + support)


def _fraction(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole of counts; 0 if both are 0."""
    return part / np.maximum(whole, 1)


def evaluate_multilabel(
    truth: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
    present: Mapping[str, np.ndarray],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Return all metrics of a multilabel model; arguments as for `multilabel_metrics`."""
    correct, positives, support = _label_counts(truth, probabilities >= thresholds)
    f1 = _f1(correct, positives, support)
    per_label: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(classes):
        column = truth[:, number]
        per_label[name] = {
            **_class_metrics(
                _fraction(correct, positives)[number],
                _fraction(correct, support)[number],
                f1[number],
                support[number],
            ),
            "average_precision": (
                float(average_precision_score(column, probabilities[:, number]))
                if column.any()
                else None
            ),
            "threshold": float(thresholds[number]),
        }
    return {
        **multilabel_metrics(truth, probabilities, thresholds),
        "nll": binary_nll(probabilities, truth),
        "ece": binary_ece(probabilities, truth),
        "rows": len(truth),
        "classes": list(classes),
        "per_class": per_label,
        "per_subset": per_subset(
            present,
            lambda rows: multilabel_metrics(truth[rows], probabilities[rows], thresholds),
        ),
    }


def regression_metrics(truth: np.ndarray, predicted: np.ndarray) -> Metrics:
    """Return MAE, RMSE, Pearson's r and R² of numbers, shape (rows,); constants have r = R² = 0."""
    names = ("mae", "rmse", "pearson", "r2")
    return {name: METRICS[name](truth, predicted) for name in names}


def evaluate_regression(
    truth: np.ndarray, predicted: np.ndarray, present: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Return all metrics of a regression model.

    Args:
        truth: shape (rows,).
        predicted: shape (rows,).
        present: column → bool, shape (rows,).
    """
    return {
        **regression_metrics(truth, predicted),
        **sentiment_metrics(truth, predicted),
        "rows": len(truth),
        "per_subset": per_subset(
            present, lambda rows: regression_metrics(truth[rows], predicted[rows])
        ),
    }


def sentiment_metrics(truth: np.ndarray, predicted: np.ndarray) -> Metrics:
    """Return the accuracies of CMU-MOSEI (Zadeh et al. 2018); nothing unless the truth fits.

    The truth fits if it lies in -3 … 3 and has negative values. acc2_has0: negative or
    non-negative. acc2_non0: negative or positive, without rows at zero. acc7: the nearest integer.
    """
    if not len(truth) or truth.min() < -3 or truth.max() > 3 or not (truth < 0).any():
        return {}
    nonzero = truth != 0
    same_integer = np.clip(np.round(predicted), -3, 3) == np.clip(np.round(truth), -3, 3)
    same_sign = (predicted > 0) == (truth > 0)
    return {
        "acc2_has0": float(((predicted >= 0) == (truth >= 0)).mean()),
        "acc2_non0": float(same_sign[nonzero].mean()) if nonzero.any() else 0.0,
        "acc7": float(same_integer.mean()),
    }


def per_subset(
    present: Mapping[str, np.ndarray], metrics: Callable[[np.ndarray], Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the metrics for each set of present modalities, the most frequent first."""
    columns = list(present)
    pattern = np.stack([present[name] for name in columns], axis=1)
    subsets = {}
    for subset in np.unique(pattern, axis=0)[::-1]:
        rows = (pattern == subset).all(axis=1)
        subsets[subset_name(columns, subset)] = {"rows": int(rows.sum()), **metrics(rows)}
    return dict(sorted(subsets.items(), key=lambda item: -item[1]["rows"]))


def subset_name(columns: Sequence[str], present: Sequence[bool]) -> str:
    """Return a name such as `image+text`, or `image only` for one of several modalities."""
    names = [name for name, is_present in zip(columns, present, strict=True) if is_present]
    is_alone = len(names) == 1 and len(columns) > 1
    return f"{names[0]} only" if is_alone else "+".join(names)
