"""Metrics as the bootstrap needs them: sums over rows where that is possible, for speed.

Drawing rows again gives each row a count. A metric that is a function of sums over rows is then a
function of a product of matrices, table times counts, for all resamples at once.
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
        table: (truth, prediction) → float64, shape (k, rows): what each row adds to the sums;
            sparse where most of it is 0.
        value: (sums, shape (k, ...), of how many rows) → the metric, shape (...).
        larger_is_better: how systems are ranked.
    """

    table: Callable[[np.ndarray, np.ndarray], Table]
    value: Callable[[np.ndarray, int], np.ndarray]
    larger_is_better: bool = True

    def __call__(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        """The metric of all rows, each once."""
        return float(self.value(self.table(truth, prediction).sum(axis=1), len(truth)))


@dataclass(frozen=True)
class RowMetric:
    """Any other metric: computed anew for every resample, so thousands of times slower.

    Attributes:
        function: (truth, prediction) of rows → the metric; NaN where the rows do not allow it, as
            AUROC of one class alone.
        larger_is_better: how systems are ranked.
    """

    function: Callable[[np.ndarray, np.ndarray], float]
    larger_is_better: bool = True

    def __call__(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        """The metric of all rows, each once."""
        return float(self.function(truth, prediction))


Metric: TypeAlias = SumMetric | RowMetric


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where both are 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole != 0)


def _mean(sums: np.ndarray, rows: int) -> np.ndarray:
    return sums[0] / rows


def _correct_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    return sparse.csr_array((truth == prediction).astype(np.float64)[None])


def _error_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    return np.abs(truth.astype(np.float64) - prediction)[None]


def _of_class(numbers: np.ndarray, classes: np.ndarray) -> sparse.csr_array:
    """1 where a row's class is that of the line, shape (classes, rows); classes must be sorted."""
    lines, rows = np.searchsorted(classes, numbers), np.arange(len(numbers))
    shape = (len(classes), len(numbers))
    return sparse.csr_array((np.ones(len(rows)), (lines, rows)), shape=shape)


def _recall_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    """Per class that occurs: rows of it that are right, rows of it."""
    there = _of_class(truth, np.unique(truth))
    return sparse.csr_array(sparse.vstack([there * (truth == prediction)[None], there]))


def _mean_recall(sums: np.ndarray, rows: int) -> np.ndarray:
    """Mean over the classes that were drawn."""
    right, there = np.split(sums, 2)
    return _ratio(_ratio(right, there).sum(axis=0), (there > 0).sum(axis=0))


def _f1_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    """Per class: rows that are right, rows of it and rows said to be of it, added."""
    classes = np.union1d(truth, prediction)
    there, said = _of_class(truth, classes), _of_class(prediction, classes)
    return sparse.csr_array(sparse.vstack([there * said, there + said]))


def _mean_f1(sums: np.ndarray, rows: int) -> np.ndarray:
    """Mean over the classes that were drawn or predicted."""
    right, there = np.split(sums, 2)
    return _ratio(_ratio(2 * right, there).sum(axis=0), (there > 0).sum(axis=0))


def _moments_table(truth: np.ndarray, prediction: np.ndarray) -> Table:
    """Moments up to the second, centred and scaled so that large numbers lose nothing."""
    x, y = _standardised(truth), _standardised(prediction)
    return np.stack([x, y, x * x, y * y, x * y])


def _standardised(values: np.ndarray) -> np.ndarray:
    centred = values.astype(np.float64) - values.mean(dtype=np.float64)
    scale = float(np.abs(centred).max(initial=0.0))
    # What is left of a constant after rounding is no signal.
    noise = 1e-12 * float(np.abs(values).max(initial=0.0))
    return centred / scale if scale > noise else np.zeros_like(centred)


def _correlation(sums: np.ndarray, rows: int) -> np.ndarray:
    """Pearson's r; 0 where a side is constant."""
    x, y, xx, yy, xy = sums
    spread_x, spread_y = rows * xx - x * x, rows * yy - y * y
    spread = np.sqrt(np.maximum(spread_x, 0) * np.maximum(spread_y, 0))
    known = spread > 1e-12 * rows * rows
    return np.clip(_ratio(np.where(known, rows * xy - x * y, 0), np.where(known, spread, 1)), -1, 1)


METRICS: dict[str, SumMetric] = {
    "accuracy": SumMetric(_correct_table, _mean),
    "balanced_accuracy": SumMetric(_recall_table, _mean_recall),
    "macro_f1": SumMetric(_f1_table, _mean_f1),
    "mae": SumMetric(_error_table, _mean, larger_is_better=False),
    "pearson": SumMetric(_moments_table, _correlation),
}
"""Metrics of class numbers or numbers, shape (rows,), by the names `mmfeat evaluate` gives them."""
