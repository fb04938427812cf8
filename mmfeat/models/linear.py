"""A linear model on the features themselves: the linear probe of a frozen encoder."""

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model


class Scaling(NamedTuple):
    """(x - mean) · scale, shape [dim] each."""

    mean: Tensor
    scale: Tensor


Inputs: TypeAlias = list[tuple[Tensor, Tensor]]
"""Of each column x̂, shape [batch, dim], and who has it, bool, shape [batch, 1]."""


class LinearModel(Model):
    """logits = b + Σ_m W_m x̂_m over the modalities present + Σ_m a_m over the absent ones.

    x̂ is x minus the mean of the training rows, perhaps divided by their deviations value by value,
    at length 1, so that one penalty fits all encoders: frozen encoders put all vectors into one
    narrow cone (Mu and Viswanath 2018, arXiv:1702.01417), and its axis says nothing. Of tokens,
    their mean is x. There is no fusion: the modalities only
    add up. All weights start at 0, and the loss with its penalty is convex: whatever the seed,
    there is one answer (Radford et al. 2021, arXiv:2103.00020, judge encoders by such a probe).
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
        """Column → how its vectors are brought to mean 0; set by training."""
        return {
            name: Scaling(self.get_buffer(f"mean_{n}"), self.get_buffer(f"scale_{n}"))
            for n, name in enumerate(self.columns)
        }

    def forward(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward`; it has no weights of modalities."""
        return self.logits(self.inputs(features, present)), None

    def inputs(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Inputs:
        """x̂ of each column and who has it; nothing that is learned is in them."""
        scaling = self.scaling
        return [normalized(features[c], present[c], scaling[c]) for c in self.columns]

    def logits(self, inputs: Inputs) -> Tensor:
        """From x̂ to logits, shape [batch, outputs]."""
        logits: Tensor = self.bias
        for (x, there), weight, absent in zip(inputs, self.weights, self.absent, strict=True):
            logits = logits + torch.where(there, x @ weight.T, absent)
        return logits

    def penalty(self) -> Tensor:
        """Half the squared length of the weights; biases are free."""
        total = torch.stack([weight.square().sum() for weight in self.weights]).sum()
        return total / 2


def pooled(x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """One vector a record, shape [batch, dim], zeros where absent; who has it, bool, [batch, 1].

    Args:
        x: shape [batch, dim], or [batch, tokens, dim], whose mean is taken.
        present: bool, shape [batch], or [batch, tokens].
    """
    x = torch.where(present.unsqueeze(-1), x, 0)
    if present.dim() == 2:
        x = x.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp(min=1)
        present = present.any(dim=1)
    return x, present.unsqueeze(1)


def normalized(x: Tensor, present: Tensor, scaling: Scaling) -> tuple[Tensor, Tensor]:
    """x̂, shape [batch, dim], zeros where absent, and who has it; arguments as for `pooled`."""
    x, there = pooled(x, present)
    x = nn.functional.normalize((x - scaling.mean) * scaling.scale)
    return torch.where(there, x, 0), there
