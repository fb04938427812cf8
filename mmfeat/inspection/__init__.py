"""Look into stores: previews of single records, and the page of `mmfeat preview`."""

from mmfeat.inspection.record_previews import Preview, load_previews, make_thumbnail, read_previews
from mmfeat.inspection.source_shards import check_source_shards, find_source_shards

__all__ = [
    "Preview",
    "check_source_shards",
    "find_source_shards",
    "load_previews",
    "make_thumbnail",
    "read_previews",
]
