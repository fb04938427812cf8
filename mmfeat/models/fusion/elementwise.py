"""Fusions without parameters: sums, products, concatenations."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmfeat.models.fusion.base import FusionOutput, PooledFusion


class SingleModality(PooledFusion):
    """Pass one modality on: the baseline that every fusion has to beat.

    Fused vector: h_1
    Absent modality: records without the modality are excluded
    Parameters: 0
    Source: –
    """

    min_modalities: ClassVar[int] = 1
    max_modalities: ClassVar[int | None] = 1

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        return FusionOutput(h[:, 0], None)


class SumFusion(PooledFusion):
    """Add the modalities: the smallest fusion; additive with `linear`.

    Fused vector: Σ_m h_m
    Absent modality: a_m replaces h_m
    Parameters: 0
    Source: –
    """

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        return FusionOutput(h.sum(dim=1), None)


class ConcatFusion(PooledFusion):
    """Concatenate the modalities: the baseline; additive with `linear`.

    Fused vector: [h_1; h_2; …], length M·d
    Absent modality: a_m replaces h_m
    Parameters: 0
    Source: –
    """

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.out_dim = modalities * dim

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        return FusionOutput(h.flatten(1), None)


class HadamardFusion(PooledFusion):
    """Multiply the modalities channel by channel: the simplest interaction.

    Fused vector: h_1 ⊙ h_2 ⊙ …
    Absent modality: a_m, initially 1, replaces h_m
    Parameters: 0
    Source: –
    """

    absent_value: ClassVar[float] = 1.0

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        return FusionOutput(h.prod(dim=1), None)


class ConcatHadamardFusion(PooledFusion):
    """Concatenate the modalities and their product: each part alone, and the interaction.

    Fused vector: [h_1; h_2; …; h_1 ⊙ h_2 ⊙ …], length (M+1)·d
    Absent modality: a_m replaces h_m, but its factor in the product is 1
    Parameters: 0
    Source: –
    """

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.out_dim = (modalities + 1) * dim

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        product = torch.where(mask.unsqueeze(2), h, 1).prod(dim=1)
        return FusionOutput(torch.cat([h.flatten(1), product], dim=1), None)


class AlignHadamardFusion(PooledFusion):
    """Multiply directions: for encoders with one space for all modalities, such as CLIP.

    Fused vector: ĥ_1 ⊙ ĥ_2 ⊙ …, ĥ = √d · h / ‖h‖
    Absent modality: factor 1
    Parameters: 0
    Source: Kumar and Nandakumar 2022, arXiv:2210.05916 ("align"), without √d

    With √d, the values of ĥ have mean square 1: an absent factor of 1 has the same scale, and the
    next layer gets values of a learnable size.
    """

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        directions = nn.functional.normalize(h, dim=2) * self.dim**0.5
        return FusionOutput(torch.where(mask.unsqueeze(2), directions, 1).prod(dim=1), None)
