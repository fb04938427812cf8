"""How a fusion weighs its modalities: histograms over the rows that leave it a choice."""

import numpy as np

from training.report.predictions import Batch, Layout

BINS = 20


class WeightHistograms:
    """Histograms of each modality's weight, of all rows and of the rows of each class.

    A row counts for a modality that it has, where it has another one too: the weight of one that
    stands alone is 1 and tells nothing.

    Attributes:
        counts: shape (columns, bins), of all rows.
        by_class: shape (classes, columns, bins), by the true class.
        sums: shape (columns,); of the weights.
        sums_by_class: shape (classes, columns).
    """

    def __init__(self, layout: Layout) -> None:
        self.columns = list(layout.columns)
        classes, columns = len(layout.classes), len(self.columns)
        self.counts = np.zeros((columns, BINS), np.int64)
        self.by_class = np.zeros((classes, columns, BINS), np.int32)
        self.sums = np.zeros(columns)
        self.sums_by_class = np.zeros((classes, columns))

    @property
    def rows(self) -> np.ndarray:
        """Weights counted of each column, shape (columns,)."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def rows_by_class(self) -> np.ndarray:
        """Weights counted, shape (classes, columns)."""
        return np.asarray(self.by_class.sum(axis=2))

    def add(self, batch: Batch) -> None:
        """Take the rows in."""
        choice = batch.present.sum(axis=1) > 1
        for column, name in enumerate(self.columns):
            weights = batch.numbers(f"w_{name}")
            if weights is None:
                continue
            used = choice & batch.present[:, column] & np.isfinite(weights)
            places = np.clip(np.nan_to_num(weights * BINS).astype(int), 0, BINS - 1)
            self.counts[column] += np.bincount(places[used], minlength=BINS)
            self.sums[column] += weights[used].sum()
            if len(self.by_class):
                rows, codes = batch.labels
                codes, rows = codes[used[rows]], rows[used[rows]]
                np.add.at(self.by_class, (codes, column, places[rows]), 1)
                np.add.at(self.sums_by_class, (codes, column), weights[rows])
