"""From the numbers that fix a model's layers to the layers."""

from mmfeat.models.alignment import AlignmentModel
from mmfeat.models.architecture import ALIGN, LATE, LATE_STACKED, LOGISTIC, RIDGE, Architecture
from mmfeat.models.base import Model
from mmfeat.models.fusion_model import FusionModel
from mmfeat.models.late import LateModel, LateStackedModel
from mmfeat.models.linear import LinearModel

MODELS: dict[str, type[Model]] = {
    ALIGN: AlignmentModel,
    LATE: LateModel,
    LATE_STACKED: LateStackedModel,
    LOGISTIC: LinearModel,
    RIDGE: LinearModel,
}
"""Models of their own, by the name that stands in the place of a fusion."""


def build_model(architecture: Architecture) -> Model:
    """A model with its first weights, drawn from torch's random state."""
    return MODELS.get(architecture.fusion, FusionModel)(architecture)
