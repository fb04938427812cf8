"""Product channel by channel: the least interaction there is."""

from typing import ClassVar

from torch import Tensor

from mmfeat.models.fusion.base import Fused, PooledFusion


class HadamardFusion(PooledFusion):
    """x = h_1 ⊙ h_2 ⊙ …, shape [batch, d].

    An absent modality's learned vector starts at 1, the neutral element of the product.
    """

    title: ClassVar[str] = "product"
    neutral: ClassVar[float] = 1.0

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        return Fused(h.prod(dim=1), None)
