"""Fusions by attention over vectors or tokens, some of which are absent."""

import math

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.base import FusionOutput, PooledFusion, TokenFusion
from mmfeat.models.masks import masked_mean


class Attention(nn.Module):
    """Compute softmax(Q Kᵀ / √(d / heads)) V, then a linear map.

    A query without a present key gets zeros.

    Args:
        dim: length d of queries and values. The number of heads is the largest of 1, 2, 4, 8 that
            divides it.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = math.gcd(dim, 8)
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Attend from x to context.

        Args:
            x: shape [batch, n, d].
            context: shape [batch, keys, d].
            mask: bool, shape [batch, keys]; True if the key is present.

        Returns:
            Shape [batch, n, d].
        """
        # Without a present key, attend to all keys and discard the result: a softmax over no key
        # would be NaN, also in the gradient.
        any_key = mask.any(dim=1, keepdim=True)
        keys = (mask | ~any_key)[:, None, None, :]
        q, k, v = (
            projected.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projected in (self.query(x), self.key(context), self.value(context))
        )
        scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
        weights = scores.masked_fill(~keys, torch.finfo(scores.dtype).min).softmax(dim=3)
        out: Tensor = self.out((weights @ v).transpose(1, 2).flatten(2))
        return torch.where(any_key.unsqueeze(2), out, 0)


class Block(nn.Module):
    """A pre-norm transformer block: x + Attention(LN x, LN context), then x + FFN(LN x).

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

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Transform x; arguments as for `Attention.forward`."""
        x = x + self.attention(self.norm(x), self.norm_over(context), mask)
        out: Tensor = x + self.ffn(self.norm_out(x))
        return out


class TransformerFusion(PooledFusion):
    """Attend among modalities: for many modalities and many records.

    Fused vector: LayerNorm of CLS after 2 blocks of self-attention over [CLS; h_1; h_2; …]
    Absent modality: no key, so nothing attends to it
    Parameters: 16d², multiplied (M+1) times per record
    Source: Tang et al. 2024, arXiv:2404.16233 (AutoGluon)

    There are no modality embeddings: each modality has its own projection already.

    Args:
        modalities: number of modalities.
        dim: length d.
        blocks: number of blocks.
    """

    def __init__(self, modalities: int, dim: int, blocks: int = 2) -> None:
        super().__init__(modalities, dim)
        self.cls = nn.Parameter(0.02 * _randn(dim))
        self.blocks = nn.ModuleList(Block(dim) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        x = torch.cat([self.cls.expand(len(h), 1, -1), h], dim=1)
        keys = torch.cat([mask.new_ones(len(h), 1), mask], dim=1)
        for block in self.blocks:
            x = block(x, x, keys)
        return FusionOutput(self.norm(x[:, 0]), None)


class CoAttentionFusion(TokenFusion):
    """Let each modality's tokens attend to all others: for words that refer to image regions.

    Fused vector: [mean_1; mean_2; …], means over tokens of t_m + FFN(t_m), t_m = h_m + attention to
        the tokens of all others
    Absent modality: no key; a_m replaces its mean
    Parameters: 8M·d²; per record (2M+4)·T·d² and 2d per pair of tokens of different modalities
    Source: Lu et al. 2019, arXiv:1908.02265 (ViLBERT); Tan and Bansal 2019, arXiv:1908.07490
        (LXMERT)
    """

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(modalities))
        self.out_dim = modalities * dim

    def forward(self, h: list[Tensor], mask: list[Tensor]) -> FusionOutput:
        """See `TokenFusion.forward`."""
        means = []
        for m, block in enumerate(self.blocks):
            context = torch.cat([tokens for n, tokens in enumerate(h) if n != m], dim=1)
            keys = torch.cat([present for n, present in enumerate(mask) if n != m], dim=1)
            has_modality = mask[m].any(dim=1, keepdim=True).unsqueeze(2)
            tokens = torch.where(has_modality, block(h[m], context, keys), h[m])
            means.append(masked_mean(tokens, mask[m]))
        return FusionOutput(torch.cat(means, dim=1), None)


class ResamplerFusion(TokenFusion):
    """Let learned queries attend to all tokens: for long sequences, at linear cost.

    Fused vector: LayerNorm of the mean of 8 learned queries after 2 blocks of attention to all
        tokens
    Absent modality: no keys
    Parameters: 16d²; per record (4T + 96)·d²
    Source: Jaegle et al. 2021, arXiv:2103.03206 (Perceiver); Alayrac et al. 2022, arXiv:2204.14198
        (Flamingo)

    A learned vector per modality is added to its tokens, so that a query can prefer one modality.

    Args:
        modalities: number of modalities.
        dim: length d.
        queries: number of queries.
        blocks: number of blocks.
    """

    def __init__(self, modalities: int, dim: int, queries: int = 8, blocks: int = 2) -> None:
        super().__init__(modalities, dim)
        self.queries = nn.Parameter(0.02 * _randn(queries, dim))
        self.kinds = nn.Parameter(0.02 * _randn(modalities, dim))
        self.blocks = nn.ModuleList(Block(dim) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)

    def forward(self, h: list[Tensor], mask: list[Tensor]) -> FusionOutput:
        """See `TokenFusion.forward`."""
        context = torch.cat(
            [tokens + kind for tokens, kind in zip(h, self.kinds, strict=True)], dim=1
        )
        keys = torch.cat(mask, dim=1)
        x = self.queries.expand(len(context), -1, -1)
        for block in self.blocks:
            x = block(x, context, keys)
        return FusionOutput(self.norm(x.mean(dim=1)), None)


def _randn(*shape: int) -> Tensor:
    # Always on the CPU: on the meta device, a random draw loads the compiler of torch for seconds.
    return torch.randn(shape, device="cpu")
