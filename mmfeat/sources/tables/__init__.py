"""Tables as input: their formats, the columns of media and texts, and the records of their rows."""

from mmfeat.sources.tables.formats import Table, UnreadBytes
from mmfeat.sources.tables.table_formats import TABLE_READERS, open_table, read_rows
from mmfeat.sources.tables.table_source import TableFile, TableSource

__all__ = [
    "TABLE_READERS",
    "Table",
    "TableFile",
    "TableSource",
    "UnreadBytes",
    "open_table",
    "read_rows",
]
