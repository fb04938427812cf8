"""The feature store: column format, reader, store."""

from mmfeat.features.column_format import (
    OK,
    Column,
    FeatureShape,
    RowStatus,
    column_schema,
    make_column_batch,
    parse_columns,
    stack_features,
)
from mmfeat.features.column_reader import (
    ColumnShard,
    read_column_file,
    read_reasons,
    to_column_shard,
)
from mmfeat.features.row_hashes import row_hashes
from mmfeat.features.store import FeatureStore
from mmfeat.features.table_files import COLUMN_FILE, COLUMNS, ENCODER_FLAG, SAMPLES, TableFiles

__all__ = [
    "COLUMNS",
    "COLUMN_FILE",
    "ENCODER_FLAG",
    "OK",
    "SAMPLES",
    "Column",
    "ColumnShard",
    "FeatureShape",
    "FeatureStore",
    "RowStatus",
    "TableFiles",
    "column_schema",
    "make_column_batch",
    "parse_columns",
    "read_column_file",
    "read_reasons",
    "row_hashes",
    "stack_features",
    "to_column_shard",
]
