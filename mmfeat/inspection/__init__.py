"""Look into stores: previews of single records, and the page of `mmfeat preview`."""

from mmfeat.inspection.preview_row import PreviewRow, make_row
from mmfeat.inspection.record_previews import Preview, load_previews, make_thumbnail, read_previews
from mmfeat.inspection.source_shards import check_source_shards, find_source_shards

__all__ = [
    "Preview",
    "PreviewRow",
    "check_source_shards",
    "find_source_shards",
    "load_previews",
    "make_row",
    "make_thumbnail",
    "read_previews",
]
