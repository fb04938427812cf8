"""The rows of predictions: which are scored, and what is in them."""

from mmfeat.scoring.rows.prediction_rows import (
    check_column_name,
    choose_columns,
    copy_columns,
    list_length,
    make_rows,
    make_table,
)
from mmfeat.scoring.rows.row_selection import RowSelection, count_keys, describe_selection

__all__ = [
    "RowSelection",
    "check_column_name",
    "choose_columns",
    "copy_columns",
    "count_keys",
    "describe_selection",
    "list_length",
    "make_rows",
    "make_table",
]
