"""What a fusion is: what one record's modalities say in, one vector out."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn


class Fused(NamedTuple):
    """What a fusion returns.

    Attributes:
        x: shape [batch, out_dim], the input of the combination.
        weights: shape [batch, modalities], what each modality counted for, summing to 1 over the
            present ones; None where the fusion has no such notion.
    """

    x: Tensor
    weights: Tensor | None


class Fusion(nn.Module):
    """Base of all fusions: several modalities, any of them absent.

    Args:
        modalities: how many there are.
        dim: length d of each modality's vector.

    Attributes:
        out_dim: length of the fused vector.
    """

    title: ClassVar[str] = ""
    """A few words for a table."""
    least: ClassVar[int] = 2
    """Fewest modalities it can take."""
    most: ClassVar[int | None] = None
    """Most modalities it can take; None = any number."""
    weighs: ClassVar[bool] = False
    """Whether it says what each modality counted for."""
    tokens: ClassVar[bool] = False
    """Whether it takes a sequence of vectors a modality, as `TokenFusion` does."""
    neutral: ClassVar[float] = 0.0
    """Value at which the learned vector of an absent modality starts: it changes nothing there."""

    out_dim: int

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__()
        self.modalities, self.dim = modalities, dim
        self.out_dim = dim


class PooledFusion(Fusion):
    """Base of the fusions that take one vector a modality."""

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """Fuse.

        Args:
            h: shape [batch, modalities, d]; an absent modality's row holds the vector the model
                learned for its absence.
            mask: bool, shape [batch, modalities]; true where the modality is present.
        """
        raise NotImplementedError


class TokenFusion(Fusion):
    """Base of the fusions that take a sequence of vectors a modality, one of them at least long."""

    tokens: ClassVar[bool] = True

    def forward(self, h: list[Tensor], mask: list[Tensor]) -> Fused:
        """Fuse.

        Args:
            h: for each modality, shape [batch, its tokens, d]; where no token is, there is the
                vector the model learned for the modality's absence. A pooled modality is a
                sequence of one.
            mask: for each modality bool, shape [batch, its tokens]; a row without any true value
                lacks the modality.
        """
        raise NotImplementedError


def softmax_over_present(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over modalities (dimension 1) in which an absent one gets exactly 0.

    Args:
        scores: shape [batch, modalities, …].
        mask: bool, shape [batch, modalities]. Where nothing at all is present the weights are
            equal, so that such a row stays finite; its output means nothing.
    """
    mask = mask.reshape(*mask.shape, *[1] * (scores.dim() - mask.dim()))
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=1)


def mean_of_others(values: Tensor, mask: Tensor) -> Tensor:
    """For each modality the mean of the present others; 0 where there is no other.

    Args:
        values: shape [batch, modalities, d].
        mask: bool, shape [batch, modalities].

    Returns:
        Shape [batch, modalities, d].
    """
    there = mask.unsqueeze(2).to(values.dtype)
    values = values * there
    others = values.sum(dim=1, keepdim=True) - values
    count = there.sum(dim=1, keepdim=True) - there
    return others / count.clamp(min=1)
