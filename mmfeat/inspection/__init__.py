"""Look into stores: previews of single records, the page of `mmfeat preview`, `mmfeat show`."""

from mmfeat.inspection.previews import (
    Preview,
    check_shards_of_features,
    check_source_shards,
    find_shards_of_features,
    find_source_shards,
    load_previews,
    make_thumbnail,
    read_previews,
)
from mmfeat.inspection.rows import PreviewRow, SourceRecords, make_row, open_rows

__all__ = [
    "Preview",
    "PreviewRow",
    "SourceRecords",
    "check_shards_of_features",
    "check_source_shards",
    "find_shards_of_features",
    "find_source_shards",
    "load_previews",
    "make_row",
    "make_thumbnail",
    "open_rows",
    "read_previews",
]
