"""Sum: every modality counts the same."""

from torch import Tensor

from mmfeat.models.fusion.base import Fused, Fusion


class SumFusion(Fusion):
    """x = Σ_m h_m, shape [batch, d]."""

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `Fusion.forward`; the learned vector of an absence is summed in its place."""
        return Fused(h.sum(dim=1), None)
