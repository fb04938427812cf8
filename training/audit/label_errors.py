"""Suspected label errors by confident learning.

Northcutt, Jiang and Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels
(arXiv:1911.00068). The result equals that of cleanlab's `find_label_issues` with
`filter_by="confident_learning"`, ranked by the normalized margin. Probabilities are read in parts.
"""

from typing import NamedTuple

import numpy as np

_PART_ROWS = 8192
_ROUNDING = 1e-6
"""A probability counts as confident from the threshold minus this, as in cleanlab."""


class LabelErrors(NamedTuple):
    """Rows whose label is suspected, the most suspicious one first.

    Attributes:
        rows: int64, shape (n,): positions of the rows.
        suggested: int64, shape (n,): the class that the models predict.
        margins: float32, shape (n,): normalized margin, 0 to 1: (probability of the label -
            highest probability of another class + 1) / 2.
        own: float32, shape (n,): probability of the label.
        other: float32, shape (n,): probability of the suggested class.
    """

    rows: np.ndarray
    suggested: np.ndarray
    margins: np.ndarray
    own: np.ndarray
    other: np.ndarray


def find_label_errors(labels: np.ndarray, probabilities: np.ndarray) -> LabelErrors:
    """Find rows that are confidently another class than their label.

    A row is confidently of class k if its probability of k reaches the mean probability of k over
    the rows with label k; if there are several such classes, of the most probable class.

    Args:
        labels: int64, shape (rows,).
        probabilities: shape (rows, classes): out-of-fold; may be a file.
    """
    thresholds = class_thresholds(labels, probabilities)
    parts: list[LabelErrors] = []
    for start in range(0, len(labels), _PART_ROWS):
        p = np.asarray(probabilities[start : start + _PART_ROWS], np.float64)
        own_labels = labels[start : start + _PART_ROWS]
        confident = p >= thresholds - _ROUNDING
        count = confident.sum(axis=1)
        guess = np.where(count > 1, p.argmax(axis=1), confident.argmax(axis=1))
        predicted = p.argmax(axis=1)
        is_wrong = (count > 0) & (guess != own_labels) & (predicted != own_labels)
        rows = np.flatnonzero(is_wrong)
        own = p[rows, own_labels[rows]]
        other = p[rows, predicted[rows]]
        margins = (own - other + 1) / 2
        parts.append(LabelErrors(rows + start, predicted[rows], margins, own, other))
    joined = LabelErrors(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    order = np.argsort(joined.margins, kind="stable")
    return LabelErrors(*(values[order] for values in joined))


def class_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the mean probability of each class over its rows, float64, shape (classes,).

    A class without rows has 1: no row is confidently of it.
    """
    classes = probabilities.shape[1]
    sums, counts = np.zeros(classes), np.zeros(classes)
    for start in range(0, len(labels), _PART_ROWS):
        part = labels[start : start + _PART_ROWS]
        own = probabilities[np.arange(start, start + len(part)), part]
        np.add.at(sums, part, own)
        np.add.at(counts, part, 1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)
