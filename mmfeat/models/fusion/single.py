"""One modality alone: the baseline every comparison includes."""

from typing import ClassVar

from torch import Tensor

from mmfeat.models.fusion.base import Fused, PooledFusion


class SingleModality(PooledFusion):
    """x = h, the identity."""

    title: ClassVar[str] = "one modality alone"
    least: ClassVar[int] = 1
    most: ClassVar[int | None] = 1

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        return Fused(h[:, 0], None)
