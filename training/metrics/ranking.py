"""Metrics of ranks, macro-averaged over labels: average precision and AUROC.

The rows are sorted once per label. Cumulated counts of the sorted rows then give the metric of all
resamples at once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from training.metrics.functions import Metric, PreparedMetric, divide

_PART_ROWS = 1 << 16
"""Rows that are compared at a time."""


class _SortedLabel(NamedTuple):
    """The rows of one label, by descending score.

    Attributes:
        order: row numbers, shape (rows,).
        starts: first position of each group of equal scores, shape (groups,).
        has_label: bool, shape (rows,), in this order.
    """

    order: np.ndarray
    starts: np.ndarray
    has_label: np.ndarray


@dataclass(frozen=True)
class RankMetric(Metric):
    """The mean over the labels that some rows of a resample have and some lack; NaN without any.

    Attributes:
        value: (rows with the label, all rows) of each group of equal scores, best scores first,
            shape (groups, resamples) each → metric of the label, shape (resamples,).
        larger_is_better, bounds: see `Metric`.
    """

    value: Callable[[np.ndarray, np.ndarray], np.ndarray]
    larger_is_better: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)

    def prepare(self, truth: np.ndarray, prediction: np.ndarray) -> PreparedMetric:
        """Sort the rows.

        Args:
            truth: 0 or 1, shape (rows, labels).
            prediction: scores, shape (rows, labels).
        """
        labels = [
            _sort(has_label, scores)
            for has_label, scores in zip(truth.T > 0, prediction.T, strict=True)
            if _varies(has_label)
        ]
        numbers = sum(part.size for label in labels for part in label)
        return PreparedMetric(lambda counts: self._average(labels, counts), numbers)

    def __call__(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        """Return the metric of all rows, with one label in memory at a time; see `prepare`."""
        labels = zip(truth.T, prediction.T, strict=True)
        ranked = (_sort(truth > 0, scores) for truth, scores in labels if _varies(truth > 0))
        return float(self._average(ranked, np.ones((len(truth), 1)))[0])

    def _average(self, labels: Iterable[_SortedLabel], counts: np.ndarray) -> np.ndarray:
        total, defined = np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
        for order, starts, has_label in labels:
            drawn = counts[order]
            positive = drawn * has_label[:, None]
            if len(starts) < len(order):
                positive, drawn = (np.add.reduceat(c, starts) for c in (positive, drawn))
            rows_with_label = positive.sum(axis=0)
            is_defined = (rows_with_label > 0) & (rows_with_label < len(order))
            total += np.where(is_defined, self.value(positive, drawn), 0.0)
            defined += is_defined
        return divide(total, defined, np.nan)


def _varies(has_label: np.ndarray) -> bool:
    """Return whether some rows have the label and some lack it."""
    return bool(has_label.any() and not has_label.all())


def _sort(has_label: np.ndarray, scores: np.ndarray) -> _SortedLabel:
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return _SortedLabel(order, starts, has_label[order])


def _average_precision(positive: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Σ precision · Δ recall over the groups, as in scikit-learn."""
    correct = positive.cumsum(axis=0)
    # Before the first row there is nothing correct: 0 / 1.
    precision = correct / np.maximum(rows.cumsum(axis=0), 1)
    return divide(np.einsum("gr,gr->r", positive, precision), correct[-1])


def _auroc(positive: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The share of pairs of a positive and a negative row in the right order; ties count half."""
    negative = rows - positive
    above = positive.cumsum(axis=0) - positive / 2
    pairs = positive.sum(axis=0) * negative.sum(axis=0)
    return divide(np.einsum("gr,gr->r", negative, above), pairs)


def mean_auroc(labels: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the value of `AUROC` for all rows, with few bytes per row.

    Args:
        labels: for each label, which rows have it, bool, and their scores, shape (rows,) each.
    """
    total, defined = 0.0, 0
    for has_label, scores in labels:
        if _varies(has_label):
            total += _auroc_of_all(has_label, scores)
            defined += 1
    return total / defined if defined else np.nan


def _auroc_of_all(has_label: np.ndarray, scores: np.ndarray) -> float:
    positive = np.sort(scores[has_label])
    above = 0
    for start in range(0, len(scores), _PART_ROWS):
        part = slice(start, start + _PART_ROWS)
        negative = scores[part][~has_label[part]]
        # A positive row that ties with a negative one counts half.
        below = [np.searchsorted(positive, negative, side).sum() for side in ("left", "right")]
        above += 2 * len(positive) * len(negative) - int(sum(below))
    return above / 2 / (len(positive) * (len(scores) - len(positive)))


AVERAGE_PRECISION = RankMetric(_average_precision)
AUROC = RankMetric(_auroc)
