"""The stage behind `mmfeat score`: run models over features, or over shards that are encoded."""

from mmfeat.scoring.config import ScoreConfig
from mmfeat.scoring.rows import make_table
from mmfeat.scoring.stage import Scoring

__all__ = [
    "ScoreConfig",
    "Scoring",
    "make_table",
]
