"""The metrics of label sets."""

from collections.abc import Callable

import numpy as np

from training.metrics.functions import Metric, SumMetric, Table, divide, mean_of_rows
from training.metrics.ranking import AUROC, AVERAGE_PRECISION


def multilabel_metric(name: str, thresholds: np.ndarray | float) -> Metric:
    """Return a metric of truth, 0 or 1, and probabilities, shape (rows, labels) each.

    Averages over labels skip those that no row has; mAP and AUROC also skip those that every row
    has. An average over no label is NaN.

    Args:
        name: one of `MULTILABEL_METRICS`.
        thresholds: a label is predicted if its probability reaches its threshold; one per label,
            or one for all.
    """
    if name in _RANK_METRICS:
        return _RANK_METRICS[name]
    table, value = _SUM_METRICS[name]
    return SumMetric(lambda truth, p: table(truth > 0, p >= thresholds), value)


def _label_table(truth: np.ndarray, predicted: np.ndarray) -> Table:
    """Per label: twice its correct rows, its true and predicted rows, its true rows."""
    parts = [2.0 * (truth & predicted), 1.0 * truth + predicted, 1.0 * truth]
    return np.concatenate([part.T for part in parts])


def _macro_f1(sums: np.ndarray, rows: int) -> np.ndarray:
    correct, whole, support = np.split(sums, 3)
    occurs = support > 0
    f1 = np.where(occurs, divide(correct, whole), 0.0)
    return divide(f1.sum(axis=0), occurs.sum(axis=0), np.nan)


def _micro_f1(sums: np.ndarray, rows: int) -> np.ndarray:
    correct, whole, _ = np.split(sums, 3)
    return divide(correct.sum(axis=0), whole.sum(axis=0))


def _equal_sets_table(truth: np.ndarray, predicted: np.ndarray) -> Table:
    return (truth == predicted).all(axis=1).astype(np.float64)[None]


_RANK_METRICS = {"map": AVERAGE_PRECISION, "auroc": AUROC}

_SUM_METRICS: dict[
    str,
    tuple[
        Callable[[np.ndarray, np.ndarray], Table],
        Callable[[np.ndarray, int], np.ndarray],
    ],
] = {
    "macro_f1": (_label_table, _macro_f1),
    "micro_f1": (_label_table, _micro_f1),
    "subset_accuracy": (_equal_sets_table, mean_of_rows),
}

MULTILABEL_METRICS = ("map", "macro_f1", "micro_f1", "auroc", "subset_accuracy")
