"""Late fusion: each modality has a model of its own, and only their logits meet."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion.attention import masked_mean
from mmfeat.models.fusion_model import as_tokens, hide_modalities, modality_mask, show
from mmfeat.models.projection import Projection


class Head(nn.Module):
    """The model of one modality: projection, combination, classifier."""

    def __init__(self, dim: int, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.projection = Projection(dim, a.hidden, a.dropout)
        self.combination = COMBINATIONS[a.combination](a.hidden, a.hidden, a.dropout)
        self.classifier = nn.Linear(self.combination.out_dim, a.outputs)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Shapes as in `Projection.forward` → logits, [batch, outputs]."""
        h = masked_mean(*as_tokens(self.projection(x, present), present))
        out: Tensor = self.classifier(self.combination(h, h.unsqueeze(1)))
        return out


class LateModel(Model):
    """logits = mean of f_m(x_m) over the modalities present.

    f_m is a `Head`, a whole model of one modality. All are trained at once by the loss of their
    mean, and modality dropout trains each alone at times. The logits add up, so no interaction
    between modalities can be learned: where this ties with the best, none was needed.
    """

    title: ClassVar[str] = "mean of single-modality logits"

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.heads = nn.ModuleList(Head(dim, architecture) for dim in architecture.dims.values())

    def forward(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward`; it has no weights."""
        mask = modality_mask(self.columns, present)
        if self.training and self.architecture.modality_dropout:
            mask = hide_modalities(mask, self.architecture.modality_dropout)
            present = show(self.columns, present, mask)
        logits = [
            head(features[column], present[column])
            for column, head in zip(self.columns, self.heads, strict=True)
        ]
        return self.join(torch.stack(logits, dim=1), mask), None

    def join(self, logits: Tensor, mask: Tensor) -> Tensor:
        """From the modalities' logits, shape [batch, modalities, outputs], to the record's.

        Args:
            logits: shape [batch, modalities, outputs].
            mask: bool, shape [batch, modalities].
        """
        there = mask.unsqueeze(2)
        return torch.where(there, logits, 0).sum(dim=1) / there.sum(dim=1).clamp(min=1)


class LateStackedModel(LateModel):
    """logits = W [f_1(x_1); f_2(x_2); …] + b, W at first the mean.

    Stacking (Wolpert 1992), with all parts trained at once. Unlike the mean it can trust one
    modality more for one class. In the place of an absent modality's logits stands a learned
    vector, at first 0.
    """

    title: ClassVar[str] = "linear layer on single-modality logits"

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        modalities, outputs = len(architecture.dims), architecture.outputs
        self.absent = nn.Parameter(torch.zeros(modalities, outputs))
        self.stack = nn.Linear(modalities * outputs, outputs)
        with torch.no_grad():
            self.stack.weight.copy_(torch.eye(outputs).repeat(1, modalities) / modalities)
            self.stack.bias.zero_()

    def join(self, logits: Tensor, mask: Tensor) -> Tensor:
        """See `LateModel.join`."""
        logits = torch.where(mask.unsqueeze(2), logits, self.absent)
        out: Tensor = self.stack(logits.flatten(1))
        return out
