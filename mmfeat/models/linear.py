"""A linear model on the features: the linear probe of a frozen encoder."""

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.masks import modality_mask


class Scaling(NamedTuple):
    """The map x → (x - mean) · scale, shape [dim] each."""

    mean: Tensor
    scale: Tensor


NormalizedFeatures: TypeAlias = list[tuple[Tensor, Tensor]]
"""For each column x̂, shape [batch, dim], and its presence, bool, shape [batch, 1]."""


class LinearModel(Model):
    """logits = b + Σ_m W_m x̂_m over the present modalities + Σ_m a_m over the absent ones.

    x̂ is x minus the mean of the training rows, optionally divided by their standard deviations,
    scaled to length 1, so that one penalty fits all encoders. Frozen encoders put all vectors into
    one narrow cone (Mu and Viswanath 2018, arXiv:1702.01417) whose axis carries no information.
    For token columns, x is the mean of the tokens.

    All weights start at 0, and the penalized loss is convex: the result does not depend on a seed.
    Radford et al. 2021 (arXiv:2103.00020) evaluate encoders by such a probe.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        dims, outputs = list(architecture.dims.values()), architecture.outputs
        self.weights = nn.ParameterList(torch.zeros(outputs, dim) for dim in dims)
        self.absent = nn.Parameter(torch.zeros(len(dims), outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        for number, dim in enumerate(dims):
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

    def forward_encoded(
        self, encoded: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward_encoded`; there are no modality weights."""
        mask = modality_mask(self.columns, present)
        inputs = [(encoded[c], mask[:, m, None]) for m, c in enumerate(self.columns)]
        return self.compute_logits(inputs), None

    def normalize(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> NormalizedFeatures:
        """Return x̂ and the presence of each column; no learned parameter is involved."""
        scaling = self.scaling
        return [normalize_features(features[c], present[c], scaling[c]) for c in self.columns]

    def compute_logits(self, inputs: NormalizedFeatures) -> Tensor:
        """Return logits, shape [batch, outputs]."""
        logits: Tensor = self.bias
        for (x, present), weight, absent in zip(inputs, self.weights, self.absent, strict=True):
            logits = logits + torch.where(present, x @ weight.T, absent)
        return logits

    def penalty(self) -> Tensor:
        """Return half the squared length of the weights; biases are not penalized."""
        total = torch.stack([weight.square().sum() for weight in self.weights]).sum()
        return total / 2


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
