"""The gate this project was given first, as its code had it."""

from typing import ClassVar

from torch import Tensor

from mmfeat.models.fusion.seed_sigmoid import SeedSigmoidFusion


class SeedLiteralFusion(SeedSigmoidFusion):
    """As `seed_sigmoid`, but with a = softmax of W h_1 + b over the d channels.

    The values of a sum to 1 over channels, so their mean is 1/d for any record and any weights:
    the first modality's importance can never show. It is here as the documented reference.
    """

    title: ClassVar[str] = "gate with a softmax over channels (reference)"

    def activation(self, scores: Tensor) -> Tensor:
        """See `SeedSigmoidFusion.activation`."""
        return scores.softmax(dim=1)
