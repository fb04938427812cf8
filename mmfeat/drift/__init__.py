"""How far the features of new records are from those of the training."""

from mmfeat.drift.column_statistics import (
    BINS,
    DIRECTIONS,
    ColumnStatistics,
    StatisticsBuilder,
)
from mmfeat.drift.files import STATISTICS, read_statistics, save_statistics
from mmfeat.drift.measure import (
    MIN_ROWS,
    DriftCounts,
    DriftDocument,
    DriftReport,
    sample_rows,
)

__all__ = [
    "BINS",
    "DIRECTIONS",
    "MIN_ROWS",
    "STATISTICS",
    "ColumnStatistics",
    "DriftCounts",
    "DriftDocument",
    "DriftReport",
    "StatisticsBuilder",
    "read_statistics",
    "sample_rows",
    "save_statistics",
]
