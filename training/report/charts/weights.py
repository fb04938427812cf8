"""Collect histograms of the modality weights of a fusion and draw them."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from mmfeat.pages import clean_text
from training.report.charts.svg import INK, SERIES, new_chart, to_svg
from training.report.prediction_batches import PredictionBatch, PredictionSchema

BINS = 20


class WeightHistograms:
    """Histograms of each modality weight, over all rows and per class.

    A row counts for a modality if it has that modality and at least one other: the weight of a
    single modality is always 1.

    Attributes:
        counts: shape (columns, bins).
        by_class: shape (classes, columns, bins), by the true class.
        sums: sum of the weights, shape (columns,).
        sums_by_class: shape (classes, columns).
    """

    def __init__(self, schema: PredictionSchema) -> None:
        self.columns = list(schema.columns)
        classes, columns = len(schema.classes), len(self.columns)
        self.counts = np.zeros((columns, BINS), np.int64)
        self.by_class = np.zeros((classes, columns, BINS), np.int32)
        self.sums = np.zeros(columns)
        self.sums_by_class = np.zeros((classes, columns))

    @property
    def rows(self) -> np.ndarray:
        """Rows counted for each column, shape (columns,)."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def rows_by_class(self) -> np.ndarray:
        """Rows counted, shape (classes, columns)."""
        return np.asarray(self.by_class.sum(axis=2))

    def add(self, batch: PredictionBatch) -> None:
        """Add the rows of a batch."""
        has_several = batch.present.sum(axis=1) > 1
        for column, name in enumerate(self.columns):
            weights = batch.numbers(f"w_{name}")
            if weights is None:
                continue
            used = has_several & batch.present[:, column] & np.isfinite(weights)
            bins = np.clip(np.nan_to_num(weights * BINS).astype(int), 0, BINS - 1)
            self.counts[column] += np.bincount(bins[used], minlength=BINS)
            self.sums[column] += weights[used].sum()
            if len(self.by_class):
                rows, codes = batch.labels
                codes, rows = codes[used[rows]], rows[used[rows]]
                np.add.at(self.by_class, (codes, column, bins[rows]), 1)
                np.add.at(self.sums_by_class, (codes, column), weights[rows])


def draw_weights(weights: WeightHistograms) -> Markup:
    """Draw a histogram of each modality weight."""
    shown = [column for column, rows in enumerate(weights.rows) if rows]
    with new_chart("weights", min(9.6, 3.4 * len(shown)), 2.5) as figure:
        all_axes = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for axes, column in zip(all_axes, shown, strict=True):
            mean = weights.sums[column] / weights.rows[column]
            axes.bar(
                (np.arange(BINS) + 0.5) / BINS, weights.counts[column], 0.92 / BINS,
                color=SERIES[column % len(SERIES)],
            )  # fmt: skip
            axes.axvline(mean, color=INK, linewidth=1.2)
            axes.set_title(f"{clean_text(weights.columns[column], 24)}, mean {mean:.2f}")
            axes.set_xlim(0, 1)
            axes.set_xlabel("weight")
        all_axes[0].set_ylabel("rows")
        return to_svg(figure, "Histograms of the modality weights; the table has their means")


def draw_sparkline(counts: Sequence[int] | np.ndarray) -> str:
    """Return the SVG path of a small histogram in a box of `BINS` by 10."""
    largest = max(1, int(np.max(counts)))
    return "".join(
        f"M{position} 10v-{10 * count / largest:.1f}h.85v{10 * count / largest:.1f}z"
        for position, count in enumerate(counts)
        if count
    )
