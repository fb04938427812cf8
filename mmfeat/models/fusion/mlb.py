"""Multimodal low-rank bilinear pooling (Kim et al. 2017, arXiv:1610.04325)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.base import Fused, PooledFusion


class MlbFusion(PooledFusion):
    """x = tanh(U_1 h_1 + b_1) ⊙ tanh(U_2 h_2 + b_2) ⊙ …, shape [batch, d].

    It stands for U, V of rank d in place of the d × d × d tensor. An absent factor is 1.
    """

    title: ClassVar[str] = "low-rank bilinear"

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.factors = nn.ModuleList(nn.Linear(dim, dim) for _ in range(modalities))

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        factors = torch.stack([u(h[:, m]).tanh() for m, u in enumerate(self.factors)], dim=1)
        return Fused(torch.where(mask.unsqueeze(2), factors, 1).prod(dim=1), None)
