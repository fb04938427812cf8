"""Fusions by name. A new one is one file here and one line in the table."""

from mmfeat.models.fusion.base import Fused, Fusion
from mmfeat.models.fusion.concat import ConcatFusion
from mmfeat.models.fusion.gmu import GatedMultimodalUnit
from mmfeat.models.fusion.single import SingleModality
from mmfeat.models.fusion.sum import SumFusion

FUSIONS: dict[str, type[Fusion]] = {
    "concat": ConcatFusion,
    "gmu": GatedMultimodalUnit,
    "single": SingleModality,
    "sum": SumFusion,
}

__all__ = [
    "FUSIONS",
    "ConcatFusion",
    "Fused",
    "Fusion",
    "GatedMultimodalUnit",
    "SingleModality",
    "SumFusion",
]
