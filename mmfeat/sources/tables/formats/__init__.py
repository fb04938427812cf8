"""Readers of table formats: each returns a `Table` for a path."""

from mmfeat.sources.tables.formats.delimited import read_csv, read_tsv
from mmfeat.sources.tables.formats.json_table import read_json, read_json_lines
from mmfeat.sources.tables.formats.parquet_table import read_parquet
from mmfeat.sources.tables.formats.table import OversizedRow, Row, Table, UnreadBytes

__all__ = [
    "OversizedRow",
    "Row",
    "Table",
    "UnreadBytes",
    "read_csv",
    "read_json",
    "read_json_lines",
    "read_parquet",
    "read_tsv",
]
