"""Product of directions (Hate-CLIPper, Kumar and Nandakumar 2022, arXiv:2210.05916)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.base import Fused, PooledFusion


class AlignHadamardFusion(PooledFusion):
    """x = ĥ_1 ⊙ ĥ_2 ⊙ …, ĥ = √d · h / ‖h‖: the product of directions, shape [batch, d].

    The paper's "align" fusion, made for features of an encoder such as CLIP that puts its
    modalities into one space. The √d is ours: the values of ĥ then have the mean square 1, so that
    an absent factor of 1 fits among them, and what follows gets values of a size it can learn from.
    """

    title: ClassVar[str] = "product of directions"

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        directions = nn.functional.normalize(h, dim=2) * self.dim**0.5
        return Fused(torch.where(mask.unsqueeze(2), directions, 1).prod(dim=1), None)
