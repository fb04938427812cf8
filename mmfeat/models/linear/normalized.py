"""Features that are centred and scaled to length 1, as linear and kernel models read them."""

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model


class Scaling(NamedTuple):
    """The map x → (x - mean) · scale, shape [dim] each."""

    mean: Tensor
    scale: Tensor


NormalizedFeatures: TypeAlias = list[tuple[Tensor, Tensor]]
"""For each column x̂, shape [batch, dim], and its presence, bool, shape [batch, 1]."""


class NormalizedModel(Model):
    """Base of the models that read x̂ of each column.

    x̂ is x minus the mean of the training rows, optionally divided by their standard deviations,
    scaled to length 1, so that one penalty fits all encoders. Frozen encoders put all vectors into
    one narrow cone (Mu and Viswanath 2018, arXiv:1702.01417) whose axis carries no information.
    For token columns, x is the mean of the tokens.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        for number, dim in enumerate(architecture.dims.values()):
            self.register_buffer(f"mean_{number}", torch.zeros(dim))
            self.register_buffer(f"scale_{number}", torch.ones(dim))

    @property
    def scaling(self) -> dict[str, Scaling]:
        """Scaling of each column; training sets it."""
        return {
            name: Scaling(self.get_buffer(f"mean_{n}"), self.get_buffer(f"scale_{n}"))
            for n, name in enumerate(self.columns)
        }

    def encode(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Model.encode`: x̂ of each column, shape [batch, dim]."""
        normalized = self.normalize(features, present)
        return {column: x for column, (x, _) in zip(self.columns, normalized, strict=True)}

    def normalize(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> NormalizedFeatures:
        """Return x̂ and the presence of each column; no learned parameter is involved."""
        scaling = self.scaling
        return [normalize_features(features[c], present[c], scaling[c]) for c in self.columns]


def pool_tokens(x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return one vector per record, zero if absent, and its presence.

    Args:
        x: shape [batch, dim], or [batch, tokens, dim] to average the present tokens.
        present: bool, shape [batch], or [batch, tokens].

    Returns:
        Shape [batch, dim], and bool, shape [batch, 1].
    """
    x = torch.where(present.unsqueeze(-1), x, 0)
    if present.dim() == 2:
        x = x.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp(min=1)
        present = present.any(dim=1)
    return x, present.unsqueeze(1)


def normalize_features(x: Tensor, present: Tensor, scaling: Scaling) -> tuple[Tensor, Tensor]:
    """Return x̂, zero if absent, and its presence; shapes as for `pool_tokens`."""
    x, is_present = pool_tokens(x, present)
    x = nn.functional.normalize((x - scaling.mean) * scaling.scale)
    return torch.where(is_present, x, 0), is_present
