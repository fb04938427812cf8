"""Build a model from its architecture."""

from mmfeat.models.alignment import AlignmentModel
from mmfeat.models.architecture import (
    ALIGN,
    ENSEMBLE,
    KERNEL,
    LATE,
    LATE_STACKED,
    LOGISTIC,
    RIDGE,
    Architecture,
)
from mmfeat.models.base import Model
from mmfeat.models.decoder.description_model import DescriptionModel
from mmfeat.models.ensemble import EnsembleModel
from mmfeat.models.fusion_model import FusionModel
from mmfeat.models.late import LateModel, LateStackedModel
from mmfeat.models.linear import KernelModel, LinearModel

MODELS: dict[str, type[Model]] = {
    ALIGN: AlignmentModel,
    KERNEL: KernelModel,
    LATE: LateModel,
    LATE_STACKED: LateStackedModel,
    LOGISTIC: LinearModel,
    RIDGE: LinearModel,
}
"""Model classes by name. All other names are fusions of a `FusionModel`."""


def build_model(architecture: Architecture) -> Model:
    """Return a new model; its initial weights come from torch's random state."""
    if architecture.fusion == ENSEMBLE:
        return EnsembleModel(architecture, [build_model(a) for a in architecture.members])
    if architecture.decoder:
        return DescriptionModel(architecture)
    return MODELS.get(architecture.fusion, FusionModel)(architecture)
