"""Low-rank multimodal fusion (Liu et al. 2018, arXiv:1806.00064)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.base import Fused, PooledFusion


class LmfFusion(PooledFusion):
    """x = Σ_r W_1^r [h_1; 1] ⊙ W_2^r [h_2; 1] ⊙ …, shape [batch, d].

    A linear map of the tensor that `tfn` forms, its weights held as `rank` products; the 1 keeps
    the terms of fewer modalities.
    An absent modality's learned vector starts at 0, which leaves it only its 1.

    Args:
        modalities: how many there are.
        dim: length d.
        rank: terms of the sum.
    """

    title: ClassVar[str] = "low-rank tensor"

    def __init__(self, modalities: int, dim: int, rank: int = 4) -> None:
        super().__init__(modalities, dim)
        self.rank = rank
        self.factors = nn.ModuleList(nn.Linear(dim, rank * dim) for _ in range(modalities))

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        factors = torch.stack([w(h[:, m]) for m, w in enumerate(self.factors)], dim=1)
        product = factors.prod(dim=1)
        return Fused(product.unflatten(1, (self.rank, self.dim)).sum(dim=1), None)
