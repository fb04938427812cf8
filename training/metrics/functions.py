"""Metrics as functions of (truth, prediction), in a form that is fast to bootstrap.

A resample gives each row a count. If a metric is a function of sums over rows, one matrix product,
table times counts, computes it for all resamples at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import sparse

Table: TypeAlias = np.ndarray | sparse.csr_array


@dataclass(frozen=True)
class SumMetric:
    """A metric that is a function of sums over rows.

    Attributes:
        table: (truth, prediction) → float64, shape (k, rows): the contribution of each row to the
            sums; sparse if most of it is 0.
        value: (sums of shape (k, ...), number of rows) → the metric, shape (...).
        larger_is_better: the direction of the metric.
    """

    table: Callable[[np.ndarray, np.ndarray], Table]
    value: Callable[[np.ndarray, int], np.ndarray]
    larger_is_better: bool = True

    def __call__(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        """Return the metric of all rows."""
        return float(self.value(self.table(truth, prediction).sum(axis=1), len(truth)))


@dataclass(frozen=True)
class RowMetric:
    """Any other metric. Each resample computes it again, which is thousands of times slower.

    Attributes:
        function: (truth, prediction) → the metric; NaN if it is undefined, such as the AUROC of a
            single class.
        larger_is_better: the direction of the metric.
    """

    function: Callable[[np.ndarray, np.ndarray], float]
    larger_is_better: bool = True

    def __call__(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        """Return the metric of all rows."""
        return float(self.function(truth, prediction))


Metric: TypeAlias = SumMetric | RowMetric


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, or 0 if whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole != 0)


def _mean(sums: np.ndarray, rows: int) -> np.ndarray:
    return sums[0] / rows


def _accuracy_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    return sparse.csr_array((truth == prediction).astype(np.float64)[None])


def _absolute_error_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    return np.abs(truth.astype(np.float64) - prediction)[None]


def _one_hot(numbers: np.ndarray, classes: np.ndarray) -> sparse.csr_array:
    """Return 1 if a row has the class, shape (classes, rows); `classes` must be sorted."""
    lines, rows = np.searchsorted(classes, numbers), np.arange(len(numbers))
    shape = (len(classes), len(numbers))
    return sparse.csr_array((np.ones(len(rows)), (lines, rows)), shape=shape)


def _recall_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    """Per class of the truth: its correct rows, its rows."""
    support = _one_hot(truth, np.unique(truth))
    return sparse.csr_array(sparse.vstack([support * (truth == prediction)[None], support]))


def _f1_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    """Per class: twice its correct rows, its true and predicted rows."""
    classes = np.union1d(truth, prediction)
    support, predicted = _one_hot(truth, classes), _one_hot(prediction, classes)
    return sparse.csr_array(sparse.vstack([2 * (support * predicted), support + predicted]))


def _macro_ratio(sums: np.ndarray, rows: int) -> np.ndarray:
    """Mean of part / whole over the classes that a resample contains."""
    part, whole = np.split(sums, 2)
    return _ratio(_ratio(part, whole).sum(axis=0), (whole > 0).sum(axis=0))


def _moments_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    """Moments up to the second, of standardized values to keep precision."""
    x, y = _standardize(truth), _standardize(prediction)
    return np.stack([x, y, x * x, y * y, x * y])


def _standardize(values: np.ndarray) -> np.ndarray:
    centred = values.astype(np.float64) - values.mean(dtype=np.float64)
    scale = float(np.abs(centred).max(initial=0.0))
    # A constant leaves only rounding errors.
    noise = 1e-12 * float(np.abs(values).max(initial=0.0))
    return centred / scale if scale > noise else np.zeros_like(centred)


def _correlation(sums: np.ndarray, rows: int) -> np.ndarray:
    """Pearson's r; 0 if one side is constant."""
    x, y, xx, yy, xy = sums
    spread_x, spread_y = rows * xx - x * x, rows * yy - y * y
    spread = np.sqrt(np.maximum(spread_x, 0) * np.maximum(spread_y, 0))
    known = spread > 1e-12 * rows * rows
    return np.clip(_ratio(np.where(known, rows * xy - x * y, 0), np.where(known, spread, 1)), -1, 1)


METRICS: dict[str, SumMetric] = {
    "accuracy": SumMetric(_accuracy_table, _mean),
    "balanced_accuracy": SumMetric(_recall_table, _macro_ratio),
    "macro_f1": SumMetric(_f1_table, _macro_ratio),
    "mae": SumMetric(_absolute_error_table, _mean, larger_is_better=False),
    "pearson": SumMetric(_moments_table, _correlation),
}
"""Metrics of class numbers or of numbers, shape (rows,), by their names in `mmfeat evaluate`."""
