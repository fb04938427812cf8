"""Sum: every modality counts the same."""

from typing import ClassVar

from torch import Tensor

from mmfeat.models.fusion.base import Fused, PooledFusion


class SumFusion(PooledFusion):
    """x = Σ_m h_m, shape [batch, d]."""

    title: ClassVar[str] = "sum"

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`; the learned vector of an absence is summed in its place."""
        return Fused(h.sum(dim=1), None)
