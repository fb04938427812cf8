"""One temperature for all logits (Guo et al. 2017, arXiv:1706.04599), and how calibrated it is."""

import numpy as np

from mmfeat.models.inference import softmax

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature: on validation rows without a mistake the best one would be 0."""

_BINS = 15
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
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(_HALVINGS):
        middle = np.sqrt(low * high)
        slope = ((softmax(f * middle) * f).sum(axis=1) - right).mean()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


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
