"""Fusions: layers that join the vectors of several modalities into one."""

from mmfeat.models.fusion.base import Fusion, FusionOutput, PooledFusion, TokenFusion
from mmfeat.models.fusion.registry import FUSIONS

__all__ = ["FUSIONS", "Fusion", "FusionOutput", "PooledFusion", "TokenFusion"]
