"""From a cached feature to h_m, what a fusion takes, and what stands there in its absence."""

import torch
from torch import Tensor, nn


class Projection(nn.Module):
    """h = W · dropout(LayerNorm(x)) + b where x is present, a learned vector elsewhere.

    A column of tokens is projected token by token.

    Args:
        dim: length of the cached feature.
        hidden: length d of h.
        dropout: part of the feature's values set to 0 in training.
        absent: value at which the learned vector starts.
    """

    def __init__(self, dim: int, hidden: int, dropout: float, absent: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(dim, hidden)
        self.missing = nn.Parameter(torch.full((hidden,), absent))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Shapes [batch, dim] or [batch, tokens, dim], bool [batch] or [batch, tokens] →
        [batch, d] or [batch, tokens, d]."""
        there = present.unsqueeze(-1)
        # Zero what is absent before it meets the weights: a stray NaN would pass through the
        # second `where` into their gradient.
        h = self.dense(self.dropout(self.norm(torch.where(there, x, 0))))
        return torch.where(there, h, self.missing)
