"""Steps of the stages as PTransforms, for pipelines of your own. They write no store."""

from pipelines.library.elements import EncodedSample, StoredSample
from pipelines.library.encode_samples import EncodeSamples
from pipelines.library.read_shards import ReadShards
from pipelines.library.score_features import ScoreFeatures

__all__ = ["EncodeSamples", "EncodedSample", "ReadShards", "ScoreFeatures", "StoredSample"]
