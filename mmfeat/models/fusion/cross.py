"""Cross-modal weighting per channel: the formula this project began with."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.base import Fused, PooledFusion, mean_of_others, softmax_over_present


class CrossFusion(PooledFusion):
    """w = softmax over modalities of (q_1 ⊙ k_2, q_2 ⊙ k_1), x = w_1 ⊙ h_1 + w_2 ⊙ h_2.

    q_m = Q_m h_m and k_m = K_m h_m; each channel has its own weights. For more modalities the
    score of m is q_m ⊙ the mean of k over the present others, which for two is the formula above.
    An absent modality has weight 0. A modality's weight is the mean over channels.
    """

    title: ClassVar[str] = "cross-modal weights per channel"
    weighs: ClassVar[bool] = True

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.queries = nn.ModuleList(nn.Linear(dim, dim) for _ in range(modalities))
        self.keys = nn.ModuleList(nn.Linear(dim, dim) for _ in range(modalities))

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        w = softmax_over_present(self.scores(h, mask), mask)
        return Fused((w * h).sum(dim=1), w.mean(dim=2))

    def scores(self, h: Tensor, mask: Tensor) -> Tensor:
        """q_m ⊙ mean of the others' k, shape [batch, modalities, d]."""
        q = torch.stack([query(h[:, m]) for m, query in enumerate(self.queries)], dim=1)
        k = torch.stack([key(h[:, m]) for m, key in enumerate(self.keys)], dim=1)
        return q * mean_of_others(k, mask)
