"""Run the models of a run on the columns of a shard."""

from mmfeat.scoring.predicting.explanation import check_explainable
from mmfeat.scoring.predicting.fused_vectors import FusedVectors, check_has_fusion
from mmfeat.scoring.predicting.model_runner import ModelOutput, ModelRunner, usable_cores
from mmfeat.scoring.predicting.scored_models import ScoredModel, ScoredModels, find_prefixes

__all__ = [
    "FusedVectors",
    "ModelOutput",
    "ModelRunner",
    "ScoredModel",
    "ScoredModels",
    "check_explainable",
    "check_has_fusion",
    "find_prefixes",
    "usable_cores",
]
