"""Learned queries over all tokens (Perceiver, Jaegle et al. 2021, arXiv:2103.03206; Flamingo's
resampler, Alayrac et al. 2022, arXiv:2204.14198)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.attention import Block
from mmfeat.models.fusion.base import Fused, TokenFusion


class ResamplerFusion(TokenFusion):
    """k learned queries attend to the tokens of all modalities; x = LayerNorm of their mean.

    Each modality's tokens carry its learned vector, so that a query can prefer one. Its cost grows
    with k · tokens and not with the square of the tokens. An absent modality has no keys.

    Args:
        modalities: how many there are.
        dim: length d.
        queries: k.
        blocks: how many blocks.
    """

    title: ClassVar[str] = "learned queries over all tokens"

    def __init__(self, modalities: int, dim: int, queries: int = 8, blocks: int = 2) -> None:
        super().__init__(modalities, dim)
        self.queries = nn.Parameter(0.02 * torch.randn(queries, dim))
        self.kinds = nn.Parameter(0.02 * torch.randn(modalities, dim))
        self.blocks = nn.ModuleList(Block(dim) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)

    def forward(self, h: list[Tensor], mask: list[Tensor]) -> Fused:
        """See `TokenFusion.forward`."""
        over = torch.cat([part + kind for part, kind in zip(h, self.kinds, strict=True)], dim=1)
        keys = torch.cat(mask, dim=1)
        x = self.queries.expand(len(over), -1, -1)
        for block in self.blocks:
            x = block(x, over, keys)
        return Fused(self.norm(x.mean(dim=1)), None)
