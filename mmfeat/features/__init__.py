"""The feature store: column format, reader, store."""

from mmfeat.features.column_format import (
    OK,
    Column,
    FeatureShape,
    RowStatus,
    column_schema,
    make_column_batch,
)
from mmfeat.features.column_reader import ColumnShard, read_column_file
from mmfeat.features.row_hashes import row_hashes
from mmfeat.features.store import SAMPLES, FeatureStore

__all__ = [
    "OK",
    "SAMPLES",
    "Column",
    "ColumnShard",
    "FeatureShape",
    "FeatureStore",
    "RowStatus",
    "column_schema",
    "make_column_batch",
    "read_column_file",
    "row_hashes",
]
