"""The files of a plan: blocks with the records of many shards, and an index of their pieces."""

from mmfeat.store.plan_files.blocks import BlockWriter, Piece, damaged_plan, read_piece
from mmfeat.store.plan_files.check import PackedPlan, check_plan, is_packed_plan
from mmfeat.store.plan_files.index import (
    PlannedShard,
    PlannedShards,
    collect_shards,
    read_plan_index,
    write_plan_index,
)

__all__ = [
    "BlockWriter",
    "PackedPlan",
    "Piece",
    "PlannedShard",
    "PlannedShards",
    "check_plan",
    "collect_shards",
    "damaged_plan",
    "is_packed_plan",
    "read_piece",
    "read_plan_index",
    "write_plan_index",
]
