"""Models in closed form or with a convex loss, on centred features of length 1."""

from mmfeat.models.linear.kernel_model import KernelModel, squared_distances
from mmfeat.models.linear.linear_model import LinearModel
from mmfeat.models.linear.normalized import (
    NormalizedFeatures,
    NormalizedModel,
    Scaling,
    normalize_features,
    pool_tokens,
)

__all__ = [
    "KernelModel",
    "LinearModel",
    "NormalizedFeatures",
    "NormalizedModel",
    "Scaling",
    "normalize_features",
    "pool_tokens",
    "squared_distances",
]
