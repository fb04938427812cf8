"""The shard format: tar writer and reader, tar index, samples table, shard reader."""

from mmfeat.shards.shard_reader import ShardRecord, read_shard
from mmfeat.shards.shard_table import ShardTable, metadata_columns
from mmfeat.shards.tar_index import IndexedSample, index_tar
from mmfeat.shards.tar_writer import TarWriter

__all__ = [
    "IndexedSample",
    "ShardRecord",
    "ShardTable",
    "TarWriter",
    "index_tar",
    "metadata_columns",
    "read_shard",
]
