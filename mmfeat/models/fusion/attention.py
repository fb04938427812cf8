"""Attention among vectors of which some are not there."""

import math

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """softmax(Q Kᵀ / √(d / heads)) V, then a linear map; several heads of d / heads channels.

    A query whose keys are all absent gets zeros.

    Args:
        dim: length d of queries and values; the number of heads is the greatest of 1, 2, 4, 8 that
            divides it.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = math.gcd(dim, 8)
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, of: Tensor, over: Tensor, mask: Tensor) -> Tensor:
        """Shapes [batch, n, d], [batch, keys, d], bool [batch, keys] → [batch, n, d]."""
        # Where no key is there the softmax runs over all of them and its result is thrown away:
        # over none it would be NaN, in the gradient too.
        some = mask.any(dim=1, keepdim=True)
        keys = (mask | ~some)[:, None, None, :]
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(of), self.key(over), self.value(over))
        )
        scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
        weights = scores.masked_fill(~keys, torch.finfo(scores.dtype).min).softmax(dim=3)
        out: Tensor = self.out((weights @ v).transpose(1, 2).flatten(2))
        return torch.where(some.unsqueeze(2), out, 0)


class Block(nn.Module):
    """x + Attention(LN x, LN y), then x + FFN(LN x): residual and normed first.

    Args:
        dim: length d.
        width: hidden units of the FFN, as a multiple of d.
    """

    def __init__(self, dim: int, width: int = 2) -> None:
        super().__init__()
        self.norm, self.norm_over, self.norm_out = (nn.LayerNorm(dim) for _ in range(3))
        self.attention = Attention(dim)
        self.ffn = nn.Sequential(
            nn.Linear(dim, width * dim), nn.GELU(), nn.Linear(width * dim, dim)
        )

    def forward(self, x: Tensor, over: Tensor, mask: Tensor) -> Tensor:
        """Shapes as in `Attention.forward`."""
        x = x + self.attention(self.norm(x), self.norm_over(over), mask)
        out: Tensor = x + self.ffn(self.norm_out(x))
        return out


def masked_mean(h: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens there are; where there is none, the first vector as it stands.

    Args:
        h: shape [batch, tokens, d]; see `TokenFusion.forward` for what stands where no token is.
        mask: bool, shape [batch, tokens].

    Returns:
        Shape [batch, d].
    """
    there = mask.unsqueeze(2)
    mean = torch.where(there, h, 0).sum(dim=1) / there.sum(dim=1).clamp(min=1)
    return torch.where(mask.any(dim=1, keepdim=True), mean, h[:, 0])
