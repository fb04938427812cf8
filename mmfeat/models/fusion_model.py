"""The model: projections → fusion → combination → classifier."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.fusion.attention import masked_mean
from mmfeat.models.projection import Projection


class Parts(NamedTuple):
    """What a fusion model makes of a batch.

    Attributes:
        logits: shape [batch, outputs].
        weights: of the modalities, shape [batch, modalities]; None where the fusion has none.
        h: each modality alone, projected, shape [batch, modalities, d].
        shown: which modalities a row has and modality dropout left, bool, shape
            [batch, modalities].
    """

    logits: Tensor
    weights: Tensor | None
    h: Tensor
    shown: Tensor


class FusionModel(Model):
    """A projection for each modality, one fusion, one combination, one linear classifier."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        a = architecture
        fusion = FUSIONS[a.fusion]
        # A list and not a dictionary: a column's name may hold characters a module's may not.
        self.projections = nn.ModuleList(
            Projection(dim, a.hidden, a.dropout, fusion.neutral) for dim in a.dims.values()
        )
        self.fusion = fusion(len(a.dims), a.hidden)
        self.combination = COMBINATIONS[a.combination](self.fusion.out_dim, a.hidden, a.dropout)
        self.classifier = nn.Linear(self.combination.out_dim, a.outputs)

    def forward(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward`; it has weights where its fusion has."""
        parts = self.parts(features, present)
        return parts.logits, parts.weights

    def parts(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Parts:
        """See `Model.forward`; with what each modality is alone.

        A fusion of pooled vectors takes the mean of a column's projected tokens.
        """
        mask = modality_mask(self.columns, present)
        if self.training and self.architecture.modality_dropout:
            shown = hide_modalities(mask, self.architecture.modality_dropout)
            present = show(self.columns, present, shown)
            mask = shown
        tokens = [
            as_tokens(projection(features[column], present[column]), present[column])
            for column, projection in zip(self.columns, self.projections, strict=True)
        ]
        h = torch.stack([masked_mean(*part) for part in tokens], dim=1)
        if self.fusion.tokens:
            x, weights = self.fusion([part for part, _ in tokens], [part for _, part in tokens])
        else:
            x, weights = self.fusion(h, mask)
        return Parts(self.classifier(self.combination(x, h)), weights, h, mask)


def as_tokens(h: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Projected vectors and their presence as sequences; of a pooled column, sequences of one.

    Args:
        h: shape [batch, d] or [batch, tokens, d].
        present: bool, shape [batch] or [batch, tokens].

    Returns:
        Shapes [batch, tokens, d] and [batch, tokens].
    """
    return (h.unsqueeze(1), present.unsqueeze(1)) if present.dim() == 1 else (h, present)


def modality_mask(columns: list[str], present: dict[str, Tensor]) -> Tensor:
    """Which modalities a row has, bool, shape [batch, modalities]: of tokens, at least one."""
    return torch.stack(
        [there if (there := present[c]).dim() == 1 else there.any(dim=1) for c in columns], dim=1
    )


def hide_modalities(mask: Tensor, chance: float) -> Tensor:
    """Modality dropout: hide each present modality by `chance`, but never all that a row has.

    Args:
        mask: bool, shape [batch, modalities].
    """
    kept = mask & (torch.rand(mask.shape, device=mask.device) >= chance)
    return torch.where(kept.any(dim=1, keepdim=True), kept, mask)


def show(columns: list[str], present: dict[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
    """The presence of vectors and tokens, with the modalities that the mask hides taken out."""
    return {
        c: (there := present[c]) & (mask[:, m] if there.dim() == 1 else mask[:, m, None])
        for m, c in enumerate(columns)
    }
