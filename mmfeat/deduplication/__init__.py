"""`mmfeat dedup`: groups of near-duplicates, found on cached features."""

from mmfeat.deduplication.config import DedupConfig
from mmfeat.deduplication.dedup_store import KEEP_FILE, dedup_store
from mmfeat.deduplication.find_groups import find_groups
from mmfeat.deduplication.group_keys import DUPLICATES_FILE, DuplicateGroups, read_groups
from mmfeat.deduplication.groups import Groups
from mmfeat.deduplication.vector_rows import VectorRows, choose_columns

__all__ = [
    "DUPLICATES_FILE",
    "KEEP_FILE",
    "DedupConfig",
    "DuplicateGroups",
    "Groups",
    "VectorRows",
    "choose_columns",
    "dedup_store",
    "find_groups",
    "read_groups",
]
