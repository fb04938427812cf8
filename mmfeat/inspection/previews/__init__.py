"""Media of records in the tars of shards: thumbnails, sounds, texts, and facts about each part."""

from mmfeat.inspection.previews.record_parts import describe_parts
from mmfeat.inspection.previews.record_previews import (
    Preview,
    load_previews,
    make_thumbnail,
    read_previews,
)
from mmfeat.inspection.previews.source_shards import (
    check_shards_of_features,
    check_source_shards,
    find_shards_of_features,
    find_source_shards,
    is_followed,
    read_any_receipt,
)

__all__ = [
    "Preview",
    "check_shards_of_features",
    "check_source_shards",
    "describe_parts",
    "find_shards_of_features",
    "find_source_shards",
    "is_followed",
    "load_previews",
    "make_thumbnail",
    "read_any_receipt",
    "read_previews",
]
