"""Raw inputs as streams of records: tables, folders, tars."""

from mmfeat.sources.base import InputOptions, Source
from mmfeat.sources.digests import file_sha256
from mmfeat.sources.registry import open_source
from mmfeat.sources.table_formats import (
    TABLE_READERS,
    UnreadBytes,
    open_decompressed,
    read_column_names,
    read_rows,
)

__all__ = [
    "TABLE_READERS",
    "InputOptions",
    "Source",
    "UnreadBytes",
    "file_sha256",
    "open_decompressed",
    "open_source",
    "read_column_names",
    "read_rows",
]
