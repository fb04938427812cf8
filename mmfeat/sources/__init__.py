"""Raw inputs as streams of records: tables, folders, tars."""

from mmfeat.sources.base import InputOptions, Source
from mmfeat.sources.digests import file_sha256
from mmfeat.sources.folders import ignored_files_notes
from mmfeat.sources.registry import open_source
from mmfeat.sources.tables import TABLE_READERS, Table, UnreadBytes, open_table, read_rows

__all__ = [
    "TABLE_READERS",
    "InputOptions",
    "Source",
    "Table",
    "UnreadBytes",
    "file_sha256",
    "ignored_files_notes",
    "open_source",
    "open_table",
    "read_rows",
]
