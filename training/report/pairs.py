"""True and predicted numbers of a regression: exact sums, and rows drawn at random to show."""

import numpy as np

from training.report.predictions import Batch

DRAWN = 5000
"""Rows kept for the histogram of residuals."""


class Pairs:
    """A fair draw of the rows, the same each time, and the sum of their residuals.

    Attributes:
        rows: that have both numbers.
        values: shape (at most `DRAWN`, 2): true, predicted; in random order.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.values = np.zeros((0, 2))
        self._draws = np.zeros(0)
        self._sum = 0.0
        self._random = np.random.default_rng(0)

    @property
    def bias(self) -> float:
        """Mean of predicted − true over all rows."""
        return self._sum / max(self.rows, 1)

    def add(self, batch: Batch) -> None:
        """Take the rows in."""
        target, predicted = batch.numbers("target"), batch.numbers("prediction")
        if target is None or predicted is None:
            return
        values = np.stack([target, predicted], axis=1)
        values = values[np.isfinite(values).all(axis=1)]
        self.rows += len(values)
        self._sum += float((values[:, 1] - values[:, 0]).sum())
        draws = np.concatenate([self._draws, self._random.random(len(values))])
        kept = np.argsort(draws, kind="stable")[:DRAWN]
        self.values = np.concatenate([self.values, values])[kept]
        self._draws = draws[kept]
