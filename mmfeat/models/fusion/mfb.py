"""Multimodal factorized bilinear pooling (Yu et al. 2017, arXiv:1708.01471)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.base import Fused, PooledFusion


class MfbFusion(PooledFusion):
    """p = Σ over k of U_1 h_1 ⊙ U_2 h_2 ⊙ …, s = sign(p) √|p|, x = s / ‖s‖; shape [batch, d].

    Each U_m makes k · d values, the product is summed over groups of k, then the root and the
    length tame its tails.
    An absent factor is 1. s is computed as p / √(|p| + 1e-6), whose slope at 0 is finite.

    Args:
        modalities: how many there are.
        dim: length d.
        k: products in each sum.
        normalize: whether the root is taken and the length made 1.
    """

    title: ClassVar[str] = "factorized bilinear"

    def __init__(self, modalities: int, dim: int, k: int = 5, normalize: bool = True) -> None:
        super().__init__(modalities, dim)
        self.k, self.normalize = k, normalize
        self.factors = nn.ModuleList(nn.Linear(dim, k * dim) for _ in range(modalities))

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        factors = torch.stack([u(h[:, m]) for m, u in enumerate(self.factors)], dim=1)
        product = torch.where(mask.unsqueeze(2), factors, 1).prod(dim=1)
        p = product.unflatten(1, (self.dim, self.k)).sum(dim=2)
        if self.normalize:
            p = nn.functional.normalize(p / (p.abs() + 1e-6).sqrt(), dim=1)
        return Fused(p, None)
