"""The model: projections → fusion → combination → classifier."""

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.projection import Projection


class FusionModel(Model):
    """A projection for each modality, one fusion, one combination, one linear classifier."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        a = architecture
        # A list and not a dictionary: a column's name may hold characters a module's may not.
        self.projections = nn.ModuleList(
            Projection(dim, a.hidden, a.dropout) for dim in a.dims.values()
        )
        self.fusion = FUSIONS[a.fusion](len(a.dims), a.hidden)
        self.combination = COMBINATIONS[a.combination](self.fusion.out_dim, a.hidden, a.dropout)
        self.classifier = nn.Linear(self.combination.out_dim, a.outputs)

    def forward(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward`; it has weights where its fusion has."""
        mask = torch.stack([present[column] for column in self.columns], dim=1)
        if self.training and self.architecture.modality_dropout:
            mask = hide_modalities(mask, self.architecture.modality_dropout)
        h = torch.stack(
            [
                projection(features[column], mask[:, m])
                for m, (column, projection) in enumerate(
                    zip(self.columns, self.projections, strict=True)
                )
            ],
            dim=1,
        )
        x, weights = self.fusion(h, mask)
        return self.classifier(self.combination(x)), weights


def hide_modalities(mask: Tensor, chance: float) -> Tensor:
    """Modality dropout: hide each present modality by `chance`, but never all that a row has.

    Args:
        mask: bool, shape [batch, modalities].
    """
    kept = mask & (torch.rand(mask.shape, device=mask.device) >= chance)
    return torch.where(kept.any(dim=1, keepdim=True), kept, mask)
