"""Metrics of ranks, macro-averaged over labels: average precision and AUROC.

The rows are sorted once per label. Cumulated counts of the sorted rows then give the metric of all
resamples at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from training.metrics.functions import Metric, PreparedMetric, divide


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
        value: (positive rows, negative rows) of each group of equal scores, best scores first,
            shape (groups, resamples) each → metric of a label, shape (resamples,).
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
            if has_label.any() and not has_label.all()
        ]
        numbers = sum(part.size for label in labels for part in label)
        return PreparedMetric(lambda counts: self._average(labels, counts), numbers)

    def _average(self, labels: list[_SortedLabel], counts: np.ndarray) -> np.ndarray:
        total, defined = np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
        for order, starts, has_label in labels:
            positive = np.where(has_label[:, None], counts[order], 0.0)
            negative = counts[order] - positive
            if len(starts) < len(order):
                positive, negative = (np.add.reduceat(c, starts) for c in (positive, negative))
            is_defined = (positive.sum(axis=0) > 0) & (negative.sum(axis=0) > 0)
            total += np.where(is_defined, self.value(positive, negative), 0.0)
            defined += is_defined
        return divide(total, defined, np.nan)


def _sort(has_label: np.ndarray, scores: np.ndarray) -> _SortedLabel:
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return _SortedLabel(order, starts, has_label[order])


def _average_precision(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Σ precision · Δ recall over the groups, as in scikit-learn."""
    correct = positive.cumsum(axis=0)
    predicted = correct + negative.cumsum(axis=0)
    return divide((positive * divide(correct, predicted)).sum(axis=0), correct[-1])


def _auroc(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """The share of pairs of a positive and a negative row in the right order; ties count half."""
    above = positive.cumsum(axis=0) - positive / 2
    pairs = positive.sum(axis=0) * negative.sum(axis=0)
    return divide((negative * above).sum(axis=0), pairs)


AVERAGE_PRECISION = RankMetric(_average_precision)
AUROC = RankMetric(_auroc)
