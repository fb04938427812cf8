"""Co-attention over tokens (ViLBERT, Lu et al. 2019, arXiv:1908.02265; LXMERT, Tan and Bansal
2019, arXiv:1908.07490)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.attention import Block, masked_mean
from mmfeat.models.fusion.base import Fused, TokenFusion


class CoAttentionFusion(TokenFusion):
    """Each modality's tokens attend to those of all others; x = [mean_1; mean_2; …].

    t_m = h_m + softmax(Q Kᵀ / √d) V over the tokens of the others, then t_m + FFN(t_m), and the
    mean over the tokens there are; shape [batch, modalities · d]. A modality that is absent is
    attended to by none, and its learned vector stands in the place of its mean.
    """

    title: ClassVar[str] = "tokens attend to the other modality's"

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(modalities))
        self.out_dim = modalities * dim

    def forward(self, h: list[Tensor], mask: list[Tensor]) -> Fused:
        """See `TokenFusion.forward`."""
        means = []
        for m, block in enumerate(self.blocks):
            over = torch.cat([part for n, part in enumerate(h) if n != m], dim=1)
            keys = torch.cat([part for n, part in enumerate(mask) if n != m], dim=1)
            there = mask[m].any(dim=1, keepdim=True).unsqueeze(2)
            means.append(masked_mean(torch.where(there, block(h[m], over, keys), h[m]), mask[m]))
        return Fused(torch.cat(means, dim=1), None)
