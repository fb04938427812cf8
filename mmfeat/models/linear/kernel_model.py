"""A kernel model on the features: smooth functions of the distances to the training rows."""

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.linear.normalized import NormalizedFeatures, NormalizedModel
from mmfeat.models.masks import modality_mask


class KernelModel(NormalizedModel):
    """logits = b + Σ_i w_i exp(-γ |z - z_i|²) over the support rows i.

    z has x̂ of each column, 0 if it is absent, and a 1 for each absent column. The product of the
    columns' kernels can express interactions between modalities. Training solves least squares in
    closed form (kernel ridge regression: Saunders, Gammerman and Vovk 1998, Ridge Regression
    Learning Algorithm in Dual Variables). The support rows are training rows: the checkpoint
    contains their normalized features.
    """

    gamma: Tensor
    absent: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        rows, dims = architecture.support, list(architecture.dims.values())
        for number, dim in enumerate(dims):
            self.register_buffer(f"support_{number}", torch.zeros(rows, dim))
        self.register_buffer("absent", torch.zeros(rows, len(dims)))
        self.register_buffer("gamma", torch.ones(()))
        self.weights = nn.Parameter(torch.zeros(rows, architecture.outputs))
        self.bias = nn.Parameter(torch.zeros(architecture.outputs))

    @property
    def support(self) -> list[Tensor]:
        """x̂ of the support rows, shape [rows, dim] for each column; training sets it."""
        return [self.get_buffer(f"support_{n}") for n in range(len(self.columns))]

    def forward_encoded(
        self, encoded: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward_encoded`; there are no modality weights."""
        mask = modality_mask(self.columns, present)
        inputs = [(encoded[c], mask[:, m, None]) for m, c in enumerate(self.columns)]
        support = [(x, self.absent[:, m, None] == 0) for m, x in enumerate(self.support)]
        kernel = torch.exp(-self.gamma * squared_distances(inputs, support))
        return kernel @ self.weights + self.bias, None


def squared_distances(one: NormalizedFeatures, other: NormalizedFeatures) -> Tensor:
    """Return |z - z_i|² of all pairs of rows, shape [rows, other rows].

    Args:
        one: x̂ and presence of each column, as `normalize` returns them.
        other: the same columns of other rows.
    """
    total: Tensor | None = None
    for (x, x_present), (z, z_present) in zip(one, other, strict=True):
        products = torch.addmm(z.square().sum(dim=1), x, z.T, alpha=-2)
        distances = (products + x.square().sum(dim=1, keepdim=True)).clamp(min=0)
        distances = distances + (x_present != z_present.T)
        total = distances if total is None else total + distances
    assert total is not None
    return total
