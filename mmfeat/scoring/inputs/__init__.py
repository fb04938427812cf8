"""What `mmfeat score` reads: the features of a store, or shards that are encoded on the way."""

from mmfeat.scoring.inputs.base import RowReader, ScoringInput, ShardRows
from mmfeat.scoring.inputs.encoded_shards import EncodedShards
from mmfeat.scoring.inputs.open_input import find_kind, open_input
from mmfeat.scoring.inputs.stored_features import StoredFeatures

__all__ = [
    "EncodedShards",
    "RowReader",
    "ScoringInput",
    "ShardRows",
    "StoredFeatures",
    "find_kind",
    "open_input",
]
