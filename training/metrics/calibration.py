"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599), thresholds, calibration metrics.

Validation rows without a mistake would ask for a temperature of 0, and for probabilities of 1 on
rows where the model is wrong. As in Platt 1999, Probabilistic Outputs for Support Vector Machines,
one more mistake is expected: of N rows, the label counts (N + 1) / (N + 2), and the most likely
other class the rest. The more mistakes validation has, the less this one changes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from mmfeat.models.tasks.multiclass import softmax
from mmfeat.models.tasks.multilabel import sigmoid

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
"""Bounds of the temperature."""

MIN_ROWS = 5
"""A label that fewer validation rows have, or lack, keeps the threshold 0.5."""

_BINS = 15
_MIN_PROBABILITY = 1e-7
"""Below this, float32 rounds 1 - p to 1."""
_BISECTIONS = 60
_PRECISION = 1e-9
"""Relative precision of a temperature; float32 has 6e-8."""

_PART_ROWS = 8192
"""Rows whose values are in memory as float64."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that minimizes the NLL of the labels and of one expected mistake.

    The NLL is convex in b = 1 / T with the derivative mean(E_p[logit] - logit of the label), where
    the label is (N + 1) / (N + 2) of itself and the rest of the most likely other class. Bisection
    finds its root.

    Args:
        logits: shape (rows, classes).
        labels: int64, shape (rows,); rows with a negative label are ignored.
    """
    known = labels >= 0
    f, own_classes = logits[known], labels[known]
    if not len(f):
        return 1.0
    own = f[np.arange(len(f)), own_classes].astype(np.float64)
    mistake = 1 / (len(f) + 2)
    wanted = (1 - mistake) * own + mistake * _best_other(f, own_classes)
    expected = np.empty_like(own)

    def slope(b: float) -> float:
        for start in range(0, len(f), _PART_ROWS):
            part = f[start : start + _PART_ROWS].astype(np.float64)
            expected[start : start + _PART_ROWS] = (softmax(part * b) * part).sum(axis=1)
        return float((expected - wanted).mean())

    return _bisect(slope)


def _best_other(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the largest logit of each row apart from that of its class, float64."""
    best = np.empty(len(logits))
    for start in range(0, len(logits), _PART_ROWS):
        part = logits[start : start + _PART_ROWS].astype(np.float64)
        part[np.arange(len(part)), classes[start : start + _PART_ROWS]] = -np.inf
        best[start : start + _PART_ROWS] = part.max(axis=1)
    return best


def fit_binary_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature that minimizes the binary NLL of all labels and of two mistakes.

    One mistake is expected where a row has a label, and one where it lacks one, among all labels.

    Args:
        logits: shape (rows, labels).
        targets: 0 or 1, shape (rows, labels).
    """
    f = logits.astype(np.float64)
    positive = int(targets.sum())
    wanted = np.where(
        targets > 0, (positive + 1) / (positive + 2), 1 / (targets.size - positive + 2)
    )
    return _bisect(lambda b: float(((sigmoid(f * b) - wanted) * f).mean())) if f.size else 1.0


def _bisect(slope: Callable[[float], float]) -> float:
    """Return 1 / b at the root of the slope, which increases with b."""
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    for _ in range(_BISECTIONS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
        if high <= low * (1 + _PRECISION):
            break
    return float(1 / np.sqrt(low * high))


def fit_thresholds(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return for each label the threshold with the best F1.

    Args:
        probabilities: shape (rows, labels).
        targets: 0 or 1, shape (rows, labels).

    Returns:
        float32, shape (labels,).
    """
    thresholds = np.full(targets.shape[1], 0.5, np.float32)
    for label, truth in enumerate(targets.T):
        if min(truth.sum(), len(truth) - truth.sum()) < MIN_ROWS:
            continue
        precision, recall, candidates = precision_recall_curve(truth, probabilities[:, label])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best = int(f1[:-1].argmax())
        # Halfway to the next lower probability, so that rounding loses no prediction.
        lower = candidates[best - 1] if best else 0.0
        thresholds[label] = (candidates[best] + lower) / 2
    return thresholds


def nll(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the mean of -log p of the label over rows with a label ≥ 0; None without such rows."""
    known = labels >= 0
    if not known.any():
        return None
    losses = np.empty(int(known.sum()))
    end = 0
    for start in range(0, len(labels), _PART_ROWS):
        rows = start + np.flatnonzero(known[start : start + _PART_ROWS])
        own = probabilities[rows, labels[rows]].astype(np.float64)
        first, end = end, end + len(rows)
        losses[first:end] = np.log(1 / np.maximum(own, np.finfo(np.float64).tiny))
    return float(losses.mean())


def binary_nll(probabilities: np.ndarray, targets: np.ndarray, axis: int | None = None) -> Any:
    """Return the mean of -log p of the true value over all rows and labels, or along one axis."""
    own = np.where(targets > 0, probabilities, 1 - probabilities).astype(np.float64)
    losses = -np.log(np.maximum(own, _MIN_PROBABILITY)).mean(axis=axis)
    return losses if axis is not None else float(losses)


def ece(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error of the predicted class.

    Args:
        probabilities: shape (rows, classes).
        labels: shape (rows,).
    """
    return binary_ece(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)


def binary_ece(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Return the expected calibration error: |p - fraction of true events|, weighted by rows.

    15 bins of equal width.

    Args:
        probabilities: any shape.
        targets: 0 or 1, the same shape: whether the event occurred.
    """
    all_p, truth = probabilities.ravel(), targets.ravel()
    gaps = np.zeros(_BINS)
    for start in range(0, len(all_p), _PART_ROWS):
        p = all_p[start : start + _PART_ROWS].astype(np.float64)
        bins = np.minimum((p * _BINS).astype(int), _BINS - 1)
        np.add.at(gaps, bins, p - truth[start : start + _PART_ROWS])
    return float(np.abs(gaps).sum() / len(all_p))
