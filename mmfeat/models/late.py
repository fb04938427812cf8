"""Late fusion: each modality has its own model, and their logits are combined."""

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import ColumnwiseModel
from mmfeat.models.masks import hide_modalities, modality_mask
from mmfeat.models.projection import UnimodalEncoder


class UnimodalClassifier(UnimodalEncoder):
    """The model of one modality: projection, combination, linear classifier."""

    def __init__(
        self, dim: int, architecture: Architecture, conditioning: str | None = None
    ) -> None:
        super().__init__(dim, architecture, conditioning)
        self.classifier = nn.Linear(self.combination.out_dim, architecture.outputs)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return logits, shape [batch, outputs]; arguments as for `UnimodalEncoder.forward`."""
        logits: Tensor = self.classifier(super().forward(x, present))
        return logits


class LateModel(ColumnwiseModel):
    """logits = mean of f_m(x_m) over the present modalities; f_m is a `UnimodalClassifier`.

    One loss trains all classifiers together; modality dropout sometimes trains one alone. The
    logits are additive, so the model cannot learn interactions between modalities: if it ties with
    the best model, the task needs none.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.heads = nn.ModuleList(
            UnimodalClassifier(dim, architecture, architecture.conditioning.get(name))
            for name, dim in architecture.dims.items()
        )

    def forward_encoded(
        self, encoded: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward_encoded`; there are no weights."""
        logits = torch.stack([encoded[column] for column in self.columns], dim=1)
        return self.combine_logits(logits, modality_mask(self.columns, present)), None

    def forward(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward`; in training with modality dropout."""
        if self.training and self.architecture.modality_dropout:
            present = hide_modalities(self.columns, present, self.architecture.modality_dropout)
        return super().forward(features, present)

    def combine_logits(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Combine the modalities' logits into the record's, shape [batch, outputs].

        Args:
            logits: shape [batch, modalities, outputs].
            mask: bool, shape [batch, modalities].
        """
        present = mask.unsqueeze(2)
        return torch.where(present, logits, 0).sum(dim=1) / present.sum(dim=1).clamp(min=1)


class LateStackedModel(LateModel):
    """logits = W [f_1(x_1); f_2(x_2); …] + b; W starts as the mean.

    Stacking (Wolpert 1992), with all parts trained together. Unlike the mean, it can trust one
    modality more for one class. A learned vector, initially 0, replaces the logits of an absent
    modality.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        modalities, outputs = len(architecture.dims), architecture.outputs
        self.absent = nn.Parameter(torch.zeros(modalities, outputs))
        self.stack = nn.Linear(modalities * outputs, outputs)
        with torch.no_grad():
            self.stack.weight.copy_(torch.eye(outputs).repeat(1, modalities) / modalities)
            self.stack.bias.zero_()

    def combine_logits(self, logits: Tensor, mask: Tensor) -> Tensor:
        """See `LateModel.combine_logits`."""
        logits = torch.where(mask.unsqueeze(2), logits, self.absent)
        out: Tensor = self.stack(logits.flatten(1))
        return out
