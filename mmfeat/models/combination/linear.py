"""Nothing between the fusion and the classifier: the classifier is the matrix product."""

from typing import ClassVar

from torch import Tensor

from mmfeat.models.combination.base import Combination


class LinearCombination(Combination):
    """f(x) = x. All interaction between modalities must come from the fusion, so it shows."""

    title: ClassVar[str] = "nothing"

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """See `Combination.forward`."""
        return x
