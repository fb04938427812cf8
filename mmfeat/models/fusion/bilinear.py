"""Fusions by products of learned linear maps."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.base import FusionOutput, PooledFusion

MAX_TENSOR_SIZE = 1024
"""Maximum number of values of the outer product of `TensorFusion`."""


class MlbFusion(PooledFusion):
    """Multiply learned directions: a bilinear map of rank d, bounded by tanh.

    Fused vector: tanh(U_1 h_1 + b_1) ⊙ tanh(U_2 h_2 + b_2) ⊙ …
    Absent modality: factor 1
    Parameters: M·d²
    Source: Kim et al. 2017, arXiv:1610.04325
    """

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.factors = nn.ModuleList(nn.Linear(dim, dim) for _ in range(modalities))

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        factors = _map_modalities(self.factors, h).tanh()
        return FusionOutput(torch.where(mask.unsqueeze(2), factors, 1).prod(dim=1), None)


class MfbFusion(PooledFusion):
    """Sum several products per output: needs more records than `mlb`.

    Fused vector: s / ‖s‖, s = sign(p) √|p|, p = sums over groups of k = 5 of U_1 h_1 ⊙ U_2 h_2 ⊙ …,
        with biases
    Absent modality: factor 1
    Parameters: 5M·d²
    Source: Yu et al. 2017, arXiv:1708.01471

    The root and the normalization shorten the tails of p. s is computed as p / √(|p| + 1e-6), whose
    slope at 0 is finite.

    Args:
        modalities: number of modalities.
        dim: length d.
        k: products in each sum.
        normalize: whether to take the root and scale to length 1.
    """

    def __init__(self, modalities: int, dim: int, k: int = 5, normalize: bool = True) -> None:
        super().__init__(modalities, dim)
        self.k, self.normalize = k, normalize
        self.factors = nn.ModuleList(nn.Linear(dim, k * dim) for _ in range(modalities))

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        factors = _map_modalities(self.factors, h)
        product = torch.where(mask.unsqueeze(2), factors, 1).prod(dim=1)
        p = product.unflatten(1, (self.dim, self.k)).sum(dim=2)
        if self.normalize:
            p = nn.functional.normalize(p / (p.abs() + 1e-6).sqrt(), dim=1)
        return FusionOutput(p, None)


class LmfFusion(PooledFusion):
    """Sum low-rank products, including those of fewer modalities.

    Fused vector: Σ_r (W_1^r [h_1; 1]) ⊙ (W_2^r [h_2; 1]) ⊙ …, r = 1 … 4
    Absent modality: a_m, initially 0, replaces h_m; its 1 remains
    Parameters: 4M·d²
    Source: Liu et al. 2018, arXiv:1806.00064

    A linear map of the tensor of `tfn`, with weights stored as `rank` products.

    Args:
        modalities: number of modalities.
        dim: length d.
        rank: terms of the sum.
    """

    def __init__(self, modalities: int, dim: int, rank: int = 4) -> None:
        super().__init__(modalities, dim)
        self.rank = rank
        self.factors = nn.ModuleList(nn.Linear(dim, rank * dim) for _ in range(modalities))

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        product = _map_modalities(self.factors, h).prod(dim=1)
        return FusionOutput(product.unflatten(1, (self.rank, self.dim)).sum(dim=1), None)


class TensorFusion(PooledFusion):
    """Take all products of few channels; at most 10 modalities.

    Fused vector: [P_1 h_1; 1] ⊗ [P_2 h_2; 1] ⊗ …; P_m maps to width w, the largest with
        (w+1)^M ≤ 1,024; length up to 1,024
    Absent modality: a_m, initially 0, replaces h_m; its 1 remains
    Parameters: M·w·d
    Source: Zadeh et al. 2017, arXiv:1707.07250

    w is 31 for two modalities, 9 for three, 1 for ten. If d ≤ w there is no P. The full product of
    vectors of length 256 would have 66,049 values for two modalities and 17 million for three.
    """

    max_modalities: ClassVar[int | None] = 10

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        width = 1
        while (width + 2) ** modalities <= MAX_TENSOR_SIZE:
            width += 1
        self.narrow = nn.ModuleList(
            nn.Linear(dim, width, bias=False) if dim > width else nn.Identity()
            for _ in range(modalities)
        )
        self.out_dim = (min(dim, width) + 1) ** modalities

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        product = h.new_ones(len(h), 1)
        for m, narrow in enumerate(self.narrow):
            z = torch.cat([narrow(h[:, m]), h.new_ones(len(h), 1)], dim=1)
            product = (product.unsqueeze(2) * z.unsqueeze(1)).flatten(1)
        return FusionOutput(product, None)


def _map_modalities(maps: nn.ModuleList, h: Tensor) -> Tensor:
    """Apply one map per modality, shape [batch, modalities, width]."""
    return torch.stack([linear(h[:, m]) for m, linear in enumerate(maps)], dim=1)
