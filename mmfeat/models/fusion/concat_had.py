"""Concatenation with the product beside it."""

from typing import ClassVar

import torch
from torch import Tensor

from mmfeat.models.fusion.base import Fused, PooledFusion


class ConcatHadamardFusion(PooledFusion):
    """x = [h_1; h_2; …; h_1 ⊙ h_2 ⊙ …], shape [batch, (modalities + 1) · d].

    In the product an absent factor is 1; in its own place stands its learned vector.
    """

    title: ClassVar[str] = "concatenation and product"

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.out_dim = (modalities + 1) * dim

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        product = torch.where(mask.unsqueeze(2), h, 1).prod(dim=1)
        return Fused(torch.cat([h.flatten(1), product], dim=1), None)
