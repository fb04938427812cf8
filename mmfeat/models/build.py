"""From the numbers that fix a model's layers to the layers."""

from mmfeat.models.architecture import LOGISTIC, Architecture
from mmfeat.models.base import Model
from mmfeat.models.fusion_model import FusionModel
from mmfeat.models.linear import LinearModel


def build_model(architecture: Architecture) -> Model:
    """A model with its first weights, drawn from torch's random state."""
    if architecture.fusion == LOGISTIC:
        return LinearModel(architecture)
    return FusionModel(architecture)
