"""Tensor fusion network (Zadeh et al. 2017, arXiv:1707.07250): all products of all channels."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.base import Fused, PooledFusion

SIZE = 1024
"""Most values of the outer product."""


class TensorFusion(PooledFusion):
    """x = [z_1; 1] ⊗ [z_2; 1] ⊗ …, z_m = P_m h_m of width w, shape [batch, (w + 1)^modalities].

    w is the greatest width with (w + 1)^modalities ≤ 1,024: 31 for two modalities, 9 for three,
    and 1 for ten, the most it takes. Where d ≤ w there is no P. The full product of vectors of 256
    would have 66,049 values for two modalities and 17 million for three. An absent modality's
    learned vector starts at 0, which leaves it only its 1.
    """

    title: ClassVar[str] = "outer product"
    most: ClassVar[int | None] = 10

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        width = 1
        while (width + 2) ** modalities <= SIZE:
            width += 1
        self.narrow = nn.ModuleList(
            nn.Linear(dim, width, bias=False) if dim > width else nn.Identity()
            for _ in range(modalities)
        )
        self.out_dim = (min(dim, width) + 1) ** modalities

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        product = h.new_ones(len(h), 1)
        for m, narrow in enumerate(self.narrow):
            z = torch.cat([narrow(h[:, m]), h.new_ones(len(h), 1)], dim=1)
            product = (product.unsqueeze(2) * z.unsqueeze(1)).flatten(1)
        return Fused(product, None)
