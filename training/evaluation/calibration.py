"""One temperature for all logits (Guo et al. 2017, arXiv:1706.04599), and how calibrated it is."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from mmfeat.models.tasks.multiclass import softmax
from mmfeat.models.tasks.multilabel import sigmoid

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature: on validation rows without a mistake the best one would be 0."""

_BINS = 15
_LEAST = 1e-7
"""Below this float32 cannot tell 1 - p from 1."""
_HALVINGS = 60


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the least NLL.

    The NLL is convex in b = 1 / T with the derivative mean(E_p[logit] - logit of the label), so
    halving the interval of b finds its root.

    Args:
        logits: shape (rows, classes).
        labels: int64, shape (rows,); rows with a label below 0 are not looked at.
    """
    known = labels >= 0
    f = logits[known].astype(np.float64)
    if not len(f):
        return 1.0
    right = f[np.arange(len(f)), labels[known]]
    return _root(lambda b: float(((softmax(f * b) * f).sum(axis=1) - right).mean()))


def fit_binary_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature with the least mean binary NLL of all labels, by the same search.

    Args:
        logits: shape (rows, labels).
        targets: 0 or 1, shape (rows, labels).
    """
    f = logits.astype(np.float64)
    return _root(lambda b: float(((sigmoid(f * b) - targets) * f).mean())) if f.size else 1.0


def _root(slope: Callable[[float], float]) -> float:
    """1 / b where the slope, which rises with b, is 0."""
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


FEWEST = 5
"""A label with fewer validation rows than this, or lacking in fewer, keeps the threshold 0.5."""


def fit_thresholds(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The probability of each label from which on to give it: the one with the best F1.

    Args:
        probabilities: shape (rows, labels).
        targets: 0 or 1, shape (rows, labels).

    Returns:
        float32, shape (labels,).
    """
    thresholds = np.full(targets.shape[1], 0.5, np.float32)
    for label, wanted in enumerate(targets.T):
        if min(wanted.sum(), len(wanted) - wanted.sum()) < FEWEST:
            continue
        precision, recall, at = precision_recall_curve(wanted, probabilities[:, label])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best = int(f1[:-1].argmax())
        # Halfway to the next lower probability, so that rounding gives no label up.
        below = at[best - 1] if best else 0.0
        thresholds[label] = (at[best] + below) / 2
    return thresholds


def nll(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """Mean -log p of the label, over the rows whose label the model knows; None without any."""
    known = labels >= 0
    if not known.any():
        return None
    right = probabilities[known, labels[known]].astype(np.float64)
    return float(np.log(1 / np.maximum(right, np.finfo(np.float64).tiny)).mean())


def ece(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error: |confidence - accuracy| over 15 equal bins, weighted by rows."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def binary_nll(probabilities: np.ndarray, targets: np.ndarray, axis: int | None = None) -> Any:
    """Mean -log p of what is the case, over all rows and labels, or along one axis."""
    right = np.where(targets > 0, probabilities, 1 - probabilities).astype(np.float64)
    losses = -np.log(np.maximum(right, _LEAST)).mean(axis=axis)
    return losses if axis is not None else float(losses)


def binary_ece(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Expected calibration error of each label by itself: |p - part that has it| over 15 bins."""
    p = probabilities.astype(np.float64).ravel()
    bins = np.minimum((p * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=p - targets.ravel(), minlength=_BINS)
    return float(np.abs(gaps).sum() / len(p))
