"""The stage behind `mmfeat shard`: plan which record goes into which shard, then write shards."""

from mmfeat.sharding.config import ShardConfig
from mmfeat.sharding.planning import dry_run
from mmfeat.sharding.selection import Condition, check_keys, key_file_sha256, read_keys
from mmfeat.sharding.stage import Sharding

__all__ = [
    "Condition",
    "ShardConfig",
    "Sharding",
    "check_keys",
    "dry_run",
    "key_file_sha256",
    "read_keys",
]
