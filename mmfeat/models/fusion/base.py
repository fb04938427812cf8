"""What a fusion is: several vectors of one record in, one vector out."""

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

    most: ClassVar[int | None] = None
    """Most modalities it can take; None = any number."""

    out_dim: int

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__()
        self.modalities, self.dim = modalities, dim
        self.out_dim = dim

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """Fuse.

        Args:
            h: shape [batch, modalities, d]; an absent modality's row holds the vector the model
                learned for its absence.
            mask: bool, shape [batch, modalities]; true where the modality is present.
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
