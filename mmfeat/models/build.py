"""From the numbers that fix a model's layers to the layers."""

from mmfeat.models.architecture import LOGISTIC, Architecture
from mmfeat.models.base import Classifier
from mmfeat.models.logistic import LogisticRegression
from mmfeat.models.multimodal import MultimodalClassifier


def build_model(architecture: Architecture) -> Classifier:
    """A model with its first weights, drawn from torch's random state."""
    if architecture.fusion == LOGISTIC:
        return LogisticRegression(architecture)
    return MultimodalClassifier(architecture)
