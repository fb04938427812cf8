"""The stage behind `mmfeat score`: run a model over features."""

from mmfeat.scoring.config import ScoreConfig
from mmfeat.scoring.prediction_rows import make_table
from mmfeat.scoring.stage import Scoring, predictions_folder

__all__ = ["ScoreConfig", "Scoring", "make_table", "predictions_folder"]
