"""The plan: its records as lines, its files, and how records are divided into shards."""

from mmfeat.sharding.shard_plan.plan import (
    Plan,
    add_problems,
    commit_plan,
    read_plan,
    read_planned_records,
    remove_plan,
)
from mmfeat.sharding.shard_plan.writer import ShardLayout, write_plan

__all__ = [
    "Plan",
    "ShardLayout",
    "add_problems",
    "commit_plan",
    "read_plan",
    "read_planned_records",
    "remove_plan",
    "write_plan",
]
