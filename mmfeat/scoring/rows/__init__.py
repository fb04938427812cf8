"""The rows of predictions: which are scored, what is in them, and the files they are in."""

from mmfeat.scoring.rows.prediction_files import (
    check_partition_column,
    data_folder,
    partition_column,
    predictions_folder,
    read_rows,
    remove_partitions,
    write_rows,
)
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
    "check_partition_column",
    "choose_columns",
    "copy_columns",
    "count_keys",
    "data_folder",
    "describe_selection",
    "list_length",
    "make_rows",
    "make_table",
    "partition_column",
    "predictions_folder",
    "read_rows",
    "remove_partitions",
    "write_rows",
]
