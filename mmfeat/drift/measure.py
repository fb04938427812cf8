"""Count the features of new records as those of the training were counted, and compare."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import numpy as np
from msgspec import Meta

from mmfeat.drift.column_statistics import (
    BINS,
    DIRECTIONS,
    ColumnStatistics,
    pool,
    stability_index,
)
from mmfeat.storage import Count

MIN_ROWS = 500
"""Fewer sampled rows say little: their index is above 0.02 by chance."""

_MIN_SAMPLE, _MAX_SAMPLE, _SAMPLE_SHARE = 512, 1024, 8
"""Rows of a shard that are counted: an eighth of them, within these bounds. The lower one is above
`MIN_ROWS`, so that one shard of so many records is enough."""


class DriftDocument(TypedDict):
    """Counts of a column in a receipt."""

    rows: Count
    present: Count
    cosine_sum: float
    counts: Annotated[
        list[Annotated[list[Count], Meta(min_length=BINS, max_length=BINS)]],
        Meta(min_length=DIRECTIONS, max_length=DIRECTIONS),
    ]


def sample_rows(rows: np.ndarray) -> np.ndarray:
    """Return rows at equal distances, at most an eighth of many rows; the same in every run."""
    count = min(_MAX_SAMPLE, max(_MIN_SAMPLE, len(rows) // _SAMPLE_SHARE))
    if len(rows) <= count:
        return rows
    return rows[np.arange(count) * len(rows) // count]


@dataclass
class DriftCounts:
    """Sampled rows of one column, counted.

    Attributes:
        rows: sampled rows.
        present: those with a feature.
        cosine_sum: sum of their cosines to the mean vector of the training.
        counts: int64, shape (DIRECTIONS, BINS): rows with a feature in each bin.
    """

    rows: int
    present: int
    cosine_sum: float
    counts: np.ndarray

    @classmethod
    def empty(cls) -> "DriftCounts":
        """Return the counts of no row."""
        return cls(0, 0, 0.0, np.zeros((DIRECTIONS, BINS), np.int64))

    @classmethod
    def of_rows(
        cls, statistics: ColumnStatistics, vectors: np.ndarray, present: np.ndarray
    ) -> "DriftCounts":
        """Count rows.

        Args:
            statistics: of the training.
            vectors: shape (rows, dim), or (rows, tokens, dim).
            present: bool, shape (rows,), or (rows, tokens).
        """
        pooled = pool(vectors, present)
        pooled = pooled[np.isfinite(pooled).all(axis=1)]
        cosine_sum = round(float(statistics.cosines(pooled).sum()), 6)
        return cls(len(present), len(pooled), cosine_sum, statistics.count_bins(pooled))

    @classmethod
    def from_document(cls, document: DriftDocument) -> "DriftCounts":
        """Return the counts of a receipt."""
        counts = np.array(document["counts"], np.int64)
        return cls(document["rows"], document["present"], document["cosine_sum"], counts)

    def to_document(self) -> dict[str, Any]:
        """Return the counts for a receipt."""
        return {
            "rows": self.rows,
            "present": self.present,
            "cosine_sum": self.cosine_sum,
            "counts": self.counts.tolist(),
        }

    def add(self, other: "DriftCounts") -> None:
        """Add the counts of other rows."""
        self.rows += other.rows
        self.present += other.present
        self.cosine_sum += other.cosine_sum
        self.counts = self.counts + other.counts

    def compare(self, statistics: ColumnStatistics) -> "DriftReport | None":
        """Compare with the training; None without a row that has a feature."""
        if not self.present:
            return None
        indices = [
            stability_index(expected, found)
            for expected, found in zip(statistics.counts, self.counts, strict=True)
        ]
        return DriftReport(
            psi=float(np.mean(indices)),
            max_psi=float(np.max(indices)),
            cosine=self.cosine_sum / self.present,
            training_cosine=statistics.cosine,
            missing=1 - self.present / self.rows,
            training_missing=1 - statistics.present / max(statistics.rows, 1),
            rows=self.present,
        )


@dataclass(frozen=True)
class DriftReport:
    """How far a column is from the training.

    Attributes:
        psi: population stability index, the mean over all directions.
        max_psi: its maximum over the directions.
        cosine: mean cosine of a record to the mean vector of the training.
        training_cosine: the same of the training rows.
        missing: share of records without a feature.
        training_missing: the same of the training rows.
        rows: sampled records with a feature.
    """

    psi: float
    max_psi: float
    cosine: float
    training_cosine: float
    missing: float
    training_missing: float
    rows: int

    @property
    def is_judged(self) -> bool:
        """Whether the index is over enough rows to compare it with a limit."""
        return self.rows >= MIN_ROWS

    def exceeds(self, limit: float) -> bool:
        """Return whether the index exceeds a limit, over enough rows to say so."""
        return self.is_judged and self.psi > limit

    def facts(self) -> Mapping[str, float]:
        """Return the numbers for the manifest, rounded to 6 digits."""
        numbers = {
            name: value if isinstance(value, int) else round(value, 6)
            for name, value in vars(self).items()
        }
        return {**numbers, "judged": self.is_judged}
