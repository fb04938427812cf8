"""Judge whether a faster way to compute features keeps them what they are."""

from typing import Any, NamedTuple, Self

import numpy as np

MAX_MEAN_LOSS, MAX_LOSS = 0.02, 0.1
"""Highest accepted 1 - cosine to exact features, as a share of the mean 1 - cosine between
different records."""

_MIN_SPREAD = 1e-9


class Losses(NamedTuple):
    """1 - cosine of features to exact ones, as a share of the spread of the exact ones.

    The spread is their mean 1 - cosine between different rows: a cosine alone says little, since
    some encoders place all records close together.

    Attributes:
        mean: over all rows; infinite if there is no spread, or if a record has no feature.
        highest: of one row.
    """

    mean: float
    highest: float

    @classmethod
    def measure(cls, features: np.ndarray, exact: np.ndarray) -> Self:
        """Compare features, one row each, with the exact ones."""
        if features.shape != exact.shape:
            return cls(np.inf, np.inf)
        features, exact = features.astype(np.float64), exact.astype(np.float64)
        unit = exact / np.maximum(np.linalg.norm(exact, axis=-1, keepdims=True), 1e-12)
        pairs = len(unit) * (len(unit) - 1)
        spread = 1 - (float((unit.sum(axis=0) ** 2).sum()) - len(unit)) / pairs if pairs else 0.0
        losses = 1 - row_cosines(features, exact)
        if spread <= _MIN_SPREAD or not np.isfinite(losses).all():
            return cls(np.inf, np.inf)
        return cls(float(losses.mean()) / spread, float(losses.max()) / spread)

    @property
    def accepted(self) -> bool:
        """Whether the features may replace the exact ones."""
        return self.mean <= MAX_MEAN_LOSS and self.highest <= MAX_LOSS

    def facts(self) -> dict[str, Any]:
        """The losses for column.json; null = infinite."""
        mean, highest = (round(v, 6) if np.isfinite(v) else None for v in self)
        return {"loss_mean": mean, "loss_max": highest}


def row_cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of each row of a to the same row of b."""
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosines: np.ndarray = (a * b).sum(axis=-1) / np.maximum(norms, 1e-12)
    return cosines
