"""Self-attention over one vector a modality, as AutoGluon fuses (Tang et al. 2024,
arXiv:2404.16233)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.attention import Block
from mmfeat.models.fusion.base import Fused, PooledFusion


class TransformerFusion(PooledFusion):
    """[CLS; h_1; h_2; …] through blocks of self-attention; x = LayerNorm of what CLS became.

    An absent modality is no key: nothing attends to it. The projections that made h differ from
    modality to modality, so there is nothing else to tell them apart by.

    Args:
        modalities: how many there are.
        dim: length d.
        blocks: how many blocks.
    """

    title: ClassVar[str] = "self-attention over modalities"

    def __init__(self, modalities: int, dim: int, blocks: int = 2) -> None:
        super().__init__(modalities, dim)
        self.cls = nn.Parameter(0.02 * torch.randn(dim))
        self.blocks = nn.ModuleList(Block(dim) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        x = torch.cat([self.cls.expand(len(h), 1, -1), h], dim=1)
        keys = torch.cat([mask.new_ones(len(h), 1), mask], dim=1)
        for block in self.blocks:
            x = block(x, x, keys)
        return Fused(self.norm(x[:, 0]), None)
