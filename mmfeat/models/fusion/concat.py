"""Concatenation: the baseline that leaves all the work to what follows."""

from typing import ClassVar

from torch import Tensor

from mmfeat.models.fusion.base import Fused, PooledFusion


class ConcatFusion(PooledFusion):
    """x = [h_1; h_2; …], shape [batch, modalities · d]."""

    title: ClassVar[str] = "concatenation"

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.out_dim = modalities * dim

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`; the learned vector of an absence stands in its place."""
        return Fused(h.flatten(1), None)
