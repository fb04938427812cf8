"""Per-modality layers: from a cached feature to a vector of common length."""

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.conditioning import InputConditioning
from mmfeat.models.masks import as_tokens, masked_mean


class Projection(nn.Module):
    """Compute h = W · dropout(LayerNorm(x)) + b; a learned vector replaces h if x is absent.

    x may be conditioned before, see `InputConditioning`.

    A token column is projected token by token.

    Args:
        dim: length of the cached feature.
        hidden: length d of h.
        dropout: fraction of the feature's values set to 0 in training.
        absent: initial value of the learned vector.
        conditioning: conditioning of the feature, see `conditioning.py`. None = none.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        dropout: float,
        absent: float = 0.0,
        conditioning: str | None = None,
    ) -> None:
        super().__init__()
        self.conditioning: InputConditioning | None = None
        if conditioning is not None:
            self.conditioning = InputConditioning(dim, conditioning)
            dim = self.conditioning.out_dim
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(dim, hidden)
        self.missing = nn.Parameter(torch.full((hidden,), absent))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Project features.

        Args:
            x: shape [batch, dim] or [batch, tokens, dim].
            present: bool, shape [batch] or [batch, tokens].

        Returns:
            Shape [batch, d] or [batch, tokens, d].
        """
        is_present = present.unsqueeze(-1)
        # Zero absent values before the weights: a stray NaN would pass through the second `where`
        # into their gradient.
        x = torch.where(is_present, x, 0)
        if self.conditioning is not None:
            x = self.conditioning(x)
        h = self.dense(self.dropout(self.norm(x)))
        return torch.where(is_present, h, self.missing)


class UnimodalEncoder(nn.Module):
    """Projection and combination of one modality, without a fusion.

    Args:
        dim: length of the cached feature.
        architecture: the configuration of the layers.
        conditioning: see `Projection`.
    """

    def __init__(
        self, dim: int, architecture: Architecture, conditioning: str | None = None
    ) -> None:
        super().__init__()
        a = architecture
        self.projection = Projection(dim, a.hidden, a.dropout, conditioning=conditioning)
        self.combination = COMBINATIONS[a.combination](a.hidden, a.hidden, a.dropout)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Encode features, shapes as in `Projection.forward`; tokens are averaged.

        Returns:
            Shape [batch, combination.out_dim].
        """
        h = masked_mean(*as_tokens(self.projection(x, present), present))
        encoded: Tensor = self.combination(h, h.unsqueeze(1))
        return encoded
