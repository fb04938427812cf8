"""The stage behind `mmfeat score`: run a model over features."""

from mmfeat.scoring.stage import ScoreConfig, Scoring

__all__ = ["ScoreConfig", "Scoring"]
