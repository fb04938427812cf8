"""Metrics as functions of (truth, prediction), in a form that is fast to bootstrap.

A resample gives each row a count. If a metric is a function of sums over rows, one matrix product,
table times counts, computes it for all resamples at once. `ranking.py` has the metrics of ranks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy import sparse

Table: TypeAlias = np.ndarray | sparse.csr_array


class PreparedMetric(NamedTuple):
    """A metric of one truth and one prediction, for any number of resamples.

    Attributes:
        measure: counts of the rows, float64, shape (rows, resamples) → metric, shape (resamples,);
            NaN if it is undefined, such as the AUROC of a single class.
        numbers: numbers in memory.
    """

    measure: Callable[[np.ndarray], np.ndarray]
    numbers: int


class Metric(ABC):
    """Base of all metrics.

    Attributes:
        larger_is_better: the direction of the metric.
        bounds: the lowest and the highest possible value.
        is_fraction: whether it is the mean over rows of values from 0 to 1.
    """

    larger_is_better: bool
    bounds: tuple[float, float]

    @property
    def is_fraction(self) -> bool:
        return False

    @abstractmethod
    def prepare(self, truth: np.ndarray, prediction: np.ndarray) -> PreparedMetric:
        """Do the work that all resamples share."""

    def __call__(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        """Return the metric of all rows."""
        return float(self.prepare(truth, prediction).measure(np.ones((len(truth), 1)))[0])


@dataclass(frozen=True)
class SumMetric(Metric):
    """A metric that is a function of sums over rows.

    Attributes:
        table: (truth, prediction) → float64, shape (k, rows): the contribution of each row to the
            sums; sparse if most of it is 0.
        value: (sums of shape (k, ...), number of rows) → the metric, shape (...).
        larger_is_better, bounds: see `Metric`.
    """

    table: Callable[[np.ndarray, np.ndarray], Table]
    value: Callable[[np.ndarray, int], np.ndarray]
    larger_is_better: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)

    @property
    def is_fraction(self) -> bool:
        """See `Metric`."""
        return self.value is mean_of_rows and self.bounds == (0.0, 1.0)

    def prepare(self, truth: np.ndarray, prediction: np.ndarray) -> PreparedMetric:
        """See `Metric.prepare`."""
        table = self.table(truth, prediction)
        return PreparedMetric(lambda counts: self.value(table @ counts, len(truth)), table.size)

    def of_counts(self, truth: np.ndarray, prediction: np.ndarray, counts: np.ndarray) -> float:
        """Return the metric of distinct rows, with the number of times that each occurs."""
        return float(self.value(self.table(truth, prediction) @ counts, int(counts.sum())))


def divide(part: np.ndarray, whole: np.ndarray, default: float = 0.0) -> np.ndarray:
    """Return part / whole, or the default if whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), default), where=whole != 0)


def mean_of_rows(sums: np.ndarray, rows: int) -> np.ndarray:
    """Return the mean of a table of one line."""
    return sums[0] / rows


def _accuracy_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    return sparse.csr_array((truth == prediction).astype(np.float64)[None])


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
    return divide(divide(part, whole).sum(axis=0), (whole > 0).sum(axis=0))


def _errors(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return prediction.astype(np.float64) - truth


def _absolute_error_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    return np.abs(_errors(truth, prediction))[None]


def _squared_error_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    return np.square(_errors(truth, prediction))[None]


def _root_mean(sums: np.ndarray, rows: int) -> np.ndarray:
    return np.sqrt(sums[0] / rows)


def _center(values: np.ndarray) -> np.ndarray:
    """Subtract the median, so that sums of squares keep their precision without the outliers."""
    return np.asarray(values - np.median(values), np.float64)


def _spread(total: np.ndarray, squares: np.ndarray, rows: int) -> np.ndarray:
    """Return Σ (x − mean)², 0 if all x are equal but for rounding."""
    spread = squares - total * total / rows
    return np.where(spread > 1e-12 * squares, spread, 0.0)


def _moments_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    x, y = _center(truth), _center(prediction.astype(np.float64))
    return np.stack([x, y, x * x, y * y, x * y])


def _correlation(sums: np.ndarray, rows: int) -> np.ndarray:
    """Pearson's r; 0 if one side is constant."""
    x, y, xx, yy, xy = sums
    spread = np.sqrt(_spread(x, xx, rows)) * np.sqrt(_spread(y, yy, rows))
    return np.clip(divide(xy - x * y / rows, spread), -1, 1)


def _determination_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    x = _center(truth)
    return np.stack([x, x * x, np.square(_errors(truth, prediction))])


def _determination(sums: np.ndarray, rows: int) -> np.ndarray:
    """R²; 0 if the truth is constant."""
    x, xx, squared_errors = sums
    spread = _spread(x, xx, rows)
    return np.where(spread > 0, 1 - divide(squared_errors, spread), 0.0)


METRICS: dict[str, SumMetric] = {
    "accuracy": SumMetric(_accuracy_table, mean_of_rows),
    "balanced_accuracy": SumMetric(_recall_table, _macro_ratio),
    "macro_f1": SumMetric(_f1_table, _macro_ratio),
    "mae": SumMetric(_absolute_error_table, mean_of_rows, False, (0.0, np.inf)),
    "rmse": SumMetric(_squared_error_table, _root_mean, False, (0.0, np.inf)),
    "pearson": SumMetric(_moments_table, _correlation, bounds=(-1.0, 1.0)),
    "r2": SumMetric(_determination_table, _determination, bounds=(-np.inf, 1.0)),
}
"""Metrics of class numbers or of numbers, shape (rows,), by their names in `mmfeat evaluate`."""
