"""The rows of stores of any kind: which ones to show, and what the stores know of each."""

from mmfeat.inspection.rows.chosen_rows import choose_rows
from mmfeat.inspection.rows.preview_row import (
    PreviewRow,
    find_target,
    first_model,
    make_row,
    split_models,
)
from mmfeat.inspection.rows.source_records import SourceRecords, drop_standard_columns
from mmfeat.inspection.rows.store_kinds import FeatureRows, ShardRows, open_rows
from mmfeat.inspection.rows.store_rows import REASON_OF, StoreRows

__all__ = [
    "REASON_OF",
    "FeatureRows",
    "PreviewRow",
    "ShardRows",
    "SourceRecords",
    "StoreRows",
    "choose_rows",
    "drop_standard_columns",
    "find_target",
    "first_model",
    "make_row",
    "open_rows",
    "split_models",
]
