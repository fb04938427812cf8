"""Collect true and predicted numbers of a regression and draw them."""

import numpy as np
from markupsafe import Markup

from mmfeat.pages import clean_text
from training.report.charts.svg import ACCENT, GRID, INK, MUTED, new_chart, to_svg
from training.report.prediction_batches import PredictionBatch

SAMPLE_ROWS = 5000
"""Rows in the histogram of residuals."""

SCATTER_POINTS = 1000
"""Points in the scatter plot; more would be unreadable and make the page large."""


class Residuals:
    """A fixed random sample of the rows, and the mean residual of all rows.

    Attributes:
        rows: number of rows with both numbers.
        values: true and predicted, shape (at most `SAMPLE_ROWS`, 2), in random order.
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

    def add(self, batch: PredictionBatch) -> None:
        """Add the rows of a batch."""
        target, predicted = batch.numbers("target"), batch.numbers("prediction")
        if target is None or predicted is None:
            return
        values = np.stack([target, predicted], axis=1)
        values = values[np.isfinite(values).all(axis=1)]
        self.rows += len(values)
        self._sum += float((values[:, 1] - values[:, 0]).sum())
        draws = np.concatenate([self._draws, self._random.random(len(values))])
        sample = np.argsort(draws, kind="stable")[:SAMPLE_ROWS]
        self.values = np.concatenate([self.values, values])[sample]
        self._draws = draws[sample]


def draw_residuals(residuals: Residuals, target: str) -> Markup:
    """Draw predicted against true numbers, and a histogram of the residuals."""
    with new_chart("residuals", 9.6, 4.0) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
        true, predicted = residuals.values[:SCATTER_POINTS].T
        limits = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        left.plot(limits, limits, linestyle=(0, (3, 3)), color=MUTED, linewidth=1)
        left.plot(true, predicted, "o", color=ACCENT, markersize=3, alpha=0.45, markeredgewidth=0)
        left.set_xlabel(f"true {clean_text(target, 30)}")
        left.set_ylabel("predicted")
        left.set_title("Predicted against true")
        differences = residuals.values[:, 1] - residuals.values[:, 0]
        right.hist(differences, bins=30, color=ACCENT, edgecolor=GRID, linewidth=0.4)
        right.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        right.axvline(residuals.bias, color=INK, linewidth=1.6)
        right.set_xlabel("predicted − true")
        right.set_ylabel("rows")
        right.set_title("Residuals")
        return to_svg(figure, "Predicted against true numbers, and a histogram of the residuals")
