"""Concatenation: the baseline that leaves all the work to what follows."""

from torch import Tensor

from mmfeat.models.fusion.base import Fused, Fusion


class ConcatFusion(Fusion):
    """x = [h_1; h_2; …], shape [batch, modalities · d]."""

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.out_dim = modalities * dim

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `Fusion.forward`; the learned vector of an absence stands in its modality's place."""
        return Fused(h.flatten(1), None)
