"""One modality alone: the baseline every comparison includes."""

from torch import Tensor

from mmfeat.errors import MmfeatError
from mmfeat.models.fusion.base import Fused, Fusion


class SingleModality(Fusion):
    """x = h, the identity.

    Raises:
        MmfeatError: there is more than one modality.
    """

    def __init__(self, modalities: int, dim: int) -> None:
        if modalities != 1:
            raise MmfeatError(
                "the fusion 'single' takes one modality",
                got=modalities,
                cure="Name one with --modalities, or another fusion",
            )
        super().__init__(modalities, dim)

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `Fusion.forward`."""
        return Fused(h[:, 0], None)
