"""Logistic regression on the features themselves: the linear probe of a frozen encoder."""

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model


class LinearModel(Model):
    """logits = b + Σ_m W_m x̂_m over the modalities present + Σ_m a_m over the absent ones.

    x̂ is x with mean 0 and length 1, so that one penalty fits all encoders.
    There is no fusion: the modalities only add up. All weights start at 0, and the loss with its
    penalty is convex: whatever the seed, there is one answer (Radford et al. 2021,
    arXiv:2103.00020, judge encoders by such a probe).
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        dims, classes = list(architecture.dims.values()), architecture.outputs
        self.weights = nn.ParameterList(torch.zeros(classes, dim) for dim in dims)
        self.absent = nn.Parameter(torch.zeros(len(dims), classes))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward`; it has no weights of modalities."""
        logits: Tensor = self.bias
        for column, weight, absent in zip(self.columns, self.weights, self.absent, strict=True):
            there = present[column].unsqueeze(1)
            x = torch.where(there, features[column], 0)
            x = nn.functional.normalize(x - x.mean(dim=1, keepdim=True))
            logits = logits + torch.where(there, x @ weight.T, absent)
        return logits, None

    def penalty(self) -> Tensor:
        """Half the squared length of the weights; biases are free."""
        total = torch.stack([weight.square().sum() for weight in self.weights]).sum()
        return total / 2
