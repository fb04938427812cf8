"""A linear model on the features: the linear probe of a frozen encoder."""

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.linear.normalized import NormalizedFeatures, NormalizedModel
from mmfeat.models.masks import modality_mask


class LinearModel(NormalizedModel):
    """logits = b + Σ_m W_m x̂_m over the present modalities + Σ_m a_m over the absent ones.

    All weights start at 0, and the penalized loss is convex: the result does not depend on a seed.
    Radford et al. 2021 (arXiv:2103.00020) evaluate encoders by such a probe.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        dims, outputs = list(architecture.dims.values()), architecture.outputs
        self.weights = nn.ParameterList(torch.zeros(outputs, dim) for dim in dims)
        self.absent = nn.Parameter(torch.zeros(len(dims), outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward_encoded(
        self, encoded: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward_encoded`; there are no modality weights."""
        mask = modality_mask(self.columns, present)
        inputs = [(encoded[c], mask[:, m, None]) for m, c in enumerate(self.columns)]
        return self.compute_logits(inputs), None

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
