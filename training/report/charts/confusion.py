"""Summarize a confusion matrix: the whole matrix, or the classes that are confused most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_CLASSES = 16
"""Most classes in the matrix of a page."""

_MAX_PAIRS = 20


@dataclass(frozen=True)
class ConfusionSummary:
    """The part of a confusion matrix to show.

    Attributes:
        classes: names of the rows and columns shown.
        counts: rows are true classes, columns predicted classes.
        shares: each count as a share of all rows of its true class.
        pairs: true class, predicted class, rows, share of the true class; most rows first.
        total_classes: number of classes in the whole matrix.
    """

    classes: list[str]
    counts: list[list[int]]
    shares: list[list[float]]
    pairs: list[tuple[str, str, int, float]]
    total_classes: int


def summarize_confusion(
    matrix: Sequence[Sequence[int]], classes: Sequence[str]
) -> ConfusionSummary:
    """Choose the classes and pairs to show of a matrix with true rows and predicted columns."""
    counts = np.asarray(matrix, np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    errors_by_class = errors.sum(axis=0) + errors.sum(axis=1)
    shown = np.sort(np.argsort(-errors_by_class, kind="stable")[:MAX_CLASSES])
    order = np.argsort(-errors, axis=None, kind="stable")[:_MAX_PAIRS]
    pairs = [divmod(int(index), len(classes)) for index in order]
    return ConfusionSummary(
        classes=[classes[index] for index in shown],
        counts=counts[np.ix_(shown, shown)].tolist(),
        shares=shares[np.ix_(shown, shown)].tolist(),
        pairs=[
            (classes[i], classes[j], int(errors[i, j]), float(shares[i, j]))
            for i, j in pairs
            if errors[i, j]
        ],
        total_classes=len(classes),
    )
