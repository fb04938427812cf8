"""One modality alone: the baseline every comparison includes."""

from typing import ClassVar

from torch import Tensor

from mmfeat.models.fusion.base import Fused, Fusion


class SingleModality(Fusion):
    """x = h, the identity."""

    most: ClassVar[int | None] = 1

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `Fusion.forward`."""
        return Fused(h[:, 0], None)
