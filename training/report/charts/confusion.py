"""A confusion matrix that fits a page: all of it, or the classes that are confused most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDEST = 16
"""Classes a page has room for, each a column."""

_PAIRS = 20


@dataclass(frozen=True)
class Confusion:
    """What is shown of a confusion matrix.

    Attributes:
        classes: names of the rows and columns shown.
        counts: rows of true classes, columns of predicted ones.
        shares: each count as a part of all rows of its true class, shown or not.
        pairs: true class, predicted class, rows, share of the true class; the largest first.
        of: classes that the whole matrix has.
    """

    classes: list[str]
    counts: list[list[int]]
    shares: list[list[float]]
    pairs: list[tuple[str, str, int, float]]
    of: int


def shown_confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Confusion:
    """Choose what is shown of a matrix of true rows and predicted columns."""
    counts = np.asarray(matrix, np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    involved = errors.sum(axis=0) + errors.sum(axis=1)
    kept = np.sort(np.argsort(-involved, kind="stable")[:WIDEST])
    order = np.argsort(-errors, axis=None, kind="stable")[:_PAIRS]
    pairs = [divmod(int(place), len(classes)) for place in order]
    return Confusion(
        classes=[classes[index] for index in kept],
        counts=counts[np.ix_(kept, kept)].tolist(),
        shares=shares[np.ix_(kept, kept)].tolist(),
        pairs=[
            (classes[true], classes[said], int(errors[true, said]), float(shares[true, said]))
            for true, said in pairs
            if errors[true, said]
        ],
        of=len(classes),
    )
