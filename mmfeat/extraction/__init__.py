"""The stage behind `mmfeat extract`: run frozen encoders over shards."""

from mmfeat.extraction.column_start import describe_column
from mmfeat.extraction.config import ExtractConfig
from mmfeat.extraction.encoding import encode_batch, encode_contents, find_member
from mmfeat.extraction.samples_table import read_input_receipt
from mmfeat.extraction.shard_encoding import ProcessLimits, ShardEncoding
from mmfeat.extraction.stage import Extraction

__all__ = [
    "ExtractConfig",
    "Extraction",
    "ProcessLimits",
    "ShardEncoding",
    "describe_column",
    "encode_batch",
    "encode_contents",
    "find_member",
    "read_input_receipt",
]
