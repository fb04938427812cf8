"""Ensembles: several trained models in one checkpoint, scored as one model."""

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model


class EnsembleModel(Model):
    """logits = Σ_i a_i f_i(x); the members f_i are models of the same task.

    A member may read some of the columns only. For classes, this is the geometric mean of the
    members' probabilities (Hinton 1999, Products of experts), each at its own temperature.

    The modality weights are the mean over the members that have weights for all columns.

    Args:
        architecture: the layers; `members` has those of each member.
        members: the models.

    Attributes:
        member_weights: buffer, shape [members]: a_i, the weight of a member divided by its
            temperature.
    """

    member_weights: Tensor

    def __init__(self, architecture: Architecture, members: list[Model]) -> None:
        super().__init__(architecture)
        self.members = nn.ModuleList(members)
        self.register_buffer("member_weights", torch.full((len(members),), 1 / len(members)))

    def encode(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Model.encode`: the features, as the members share no layers."""
        return features

    def forward_encoded(
        self, encoded: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward_encoded`."""
        total: Tensor | None = None
        weights: list[Tensor] = []
        for member, factor in zip(self.members, self.member_weights, strict=True):
            logits, member_weights = member(encoded, present)
            total = factor * logits if total is None else total + factor * logits
            if member_weights is not None and member.columns == self.columns:
                weights.append(member_weights)
        assert total is not None
        return total, torch.stack(weights).mean(dim=0) if weights else None
