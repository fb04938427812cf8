"""Options of `mmfeat dedup`."""

from dataclasses import dataclass

from mmfeat.config import FeaturesPath, OutputPath
from mmfeat.errors import MmfeatError


@dataclass(frozen=True)
class DedupConfig:
    """Find groups of near-duplicates on features that are already extracted.

    Writes OUTPUT/duplicates.parquet, which `mmfeat train --group-column OUTPUT` reads, and
    OUTPUT/keep.parquet, the keys for `mmfeat shard --keys`. Nothing is encoded again.
    """

    features: FeaturesPath
    """Output directory of `mmfeat extract`."""
    output: OutputPath
    """Directory to write the groups to."""
    threshold: float = 0.95
    """Lowest cosine similarity of near-duplicates. Groups are connected: two records of a group may
    be linked by a third."""
    modalities: str = ""
    """Feature columns to compare, separated by commas: near-duplicates reach the threshold in each
    of them. Empty = all columns with one vector per record."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise MmfeatError("--threshold must be above 0 and at most 1", got=self.threshold)
