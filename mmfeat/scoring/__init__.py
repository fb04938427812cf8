"""The stage behind `mmfeat score`: run a model over features."""

from mmfeat.scoring.config import ScoreConfig
from mmfeat.scoring.stage import Scoring, predictions_folder

__all__ = ["ScoreConfig", "Scoring", "predictions_folder"]
