"""The gate this project was given first, its softmax over channels replaced by a sigmoid."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.base import Fused, PooledFusion


class SeedSigmoidFusion(PooledFusion):
    """a = σ(W h_1 + b), x = a ⊙ h_1 + (1 − a) ⊙ h_2: the first modality decides on its own part.

    For more modalities h_2 is the mean of the others that are present. Where the first is absent
    a = 0, where no other is present a = 1. The first modality's weight is the mean of a over
    channels; the present others share the rest evenly.
    """

    title: ClassVar[str] = "gate read off the first modality"
    weighs: ClassVar[bool] = True

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.gate = nn.Linear(dim, dim)

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        first, others = mask[:, :1], mask[:, 1:]
        a = self.activation(self.gate(h[:, 0]))
        a = torch.where(first, a, 0)
        a = torch.where(others.any(dim=1, keepdim=True), a, 1)
        shares = others.to(h.dtype)
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1)
        rest = (shares.unsqueeze(2) * h[:, 1:]).sum(dim=1)
        weight = a.mean(dim=1, keepdim=True)
        return Fused(
            a * h[:, 0] + (1 - a) * rest, torch.cat([weight, (1 - weight) * shares], dim=1)
        )

    def activation(self, scores: Tensor) -> Tensor:
        """From scores to gates, both of shape [batch, d]."""
        return scores.sigmoid()
