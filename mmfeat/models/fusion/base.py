"""The interface of a fusion: vectors of a record's modalities in, one vector out."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn


class FusionOutput(NamedTuple):
    """The output of a fusion.

    Attributes:
        x: shape [batch, out_dim], the input of the combination.
        weights: shape [batch, modalities], non-negative, summing to 1 over the present modalities;
            None if the fusion has no weights.
    """

    x: Tensor
    weights: Tensor | None = None


class Fusion(nn.Module):
    """Base of all fusions. Any modality of a record may be absent.

    The docstring of a fusion starts with a summary and the lines `Fused vector:`,
    `Absent modality:`, `Parameters:` and `Source:`, which become its row in docs/fusion.md.

    Args:
        modalities: number of modalities.
        dim: length d of each modality's vector.

    Attributes:
        out_dim: length of the fused vector.
    """

    min_modalities: ClassVar[int] = 2
    max_modalities: ClassVar[int | None] = None
    """None means any number."""
    has_weights: ClassVar[bool] = False
    """Whether the output has modality weights."""
    takes_tokens: ClassVar[bool] = False
    """Whether the input is a sequence per modality, as for `TokenFusion`."""
    absent_value: ClassVar[float] = 0.0
    """Initial value of the learned vector of an absent modality: the fusion's neutral element."""

    out_dim: int

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__()
        self.modalities, self.dim = modalities, dim
        self.out_dim = dim


class PooledFusion(Fusion):
    """Base of the fusions that take one vector per modality."""

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """Fuse.

        Args:
            h: shape [batch, modalities, d]; the learned vector if a modality is absent.
            mask: bool, shape [batch, modalities]; True if the modality is present.
        """
        raise NotImplementedError


class TokenFusion(Fusion):
    """Base of the fusions that take a sequence of vectors per modality."""

    takes_tokens: ClassVar[bool] = True

    def forward(self, h: list[Tensor], mask: list[Tensor]) -> FusionOutput:
        """Fuse.

        Args:
            h: for each modality, shape [batch, its tokens, d]; the learned vector replaces absent
                tokens. A pooled modality is a sequence of one.
            mask: for each modality, bool, shape [batch, its tokens]; a row without a True value
                lacks the modality.
        """
        raise NotImplementedError


def softmax_over_present(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over modalities (dimension 1); an absent modality gets exactly 0.

    Args:
        scores: shape [batch, modalities, …].
        mask: bool, shape [batch, modalities]. A row without any modality gets equal weights, which
            keeps it finite; its output has no meaning.
    """
    mask = mask.reshape(*mask.shape, *[1] * (scores.dim() - mask.dim()))
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=1)


def mean_of_others(values: Tensor, mask: Tensor) -> Tensor:
    """Return for each modality the mean of the other present ones, or 0 without any.

    Args:
        values: shape [batch, modalities, d].
        mask: bool, shape [batch, modalities].

    Returns:
        Shape [batch, modalities, d].
    """
    present = mask.unsqueeze(2).to(values.dtype)
    values = values * present
    others = values.sum(dim=1, keepdim=True) - values
    count = present.sum(dim=1, keepdim=True) - present
    return others / count.clamp(min=1)
