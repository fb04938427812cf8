"""The stage behind `mmfeat shard`: plan which record goes into which shard, then write shards."""

from mmfeat.sharding.config import ShardConfig
from mmfeat.sharding.planning import dry_run
from mmfeat.sharding.stage import Sharding

__all__ = ["ShardConfig", "Sharding", "dry_run"]
