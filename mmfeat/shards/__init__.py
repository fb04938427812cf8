"""The shard format: tar writer and reader, tar index, samples table, shard reader."""

from mmfeat.shards.sample_parts import join_parts
from mmfeat.shards.shard_reader import ShardRecord, read_shard, read_stored_shard
from mmfeat.shards.shard_table import (
    SHARD_FILES,
    ShardTable,
    find_standard_columns,
    metadata_columns,
    sha256_column,
    status_column,
)
from mmfeat.shards.tar_index import PICKLES, IndexedSample, index_tar
from mmfeat.shards.tar_reader import Content
from mmfeat.shards.tar_writer import TarWriter, tar_header

__all__ = [
    "PICKLES",
    "SHARD_FILES",
    "Content",
    "IndexedSample",
    "ShardRecord",
    "ShardTable",
    "TarWriter",
    "find_standard_columns",
    "index_tar",
    "join_parts",
    "metadata_columns",
    "read_shard",
    "read_stored_shard",
    "sha256_column",
    "status_column",
    "tar_header",
]
