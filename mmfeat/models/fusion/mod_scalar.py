"""One weight a modality from cross-modal attention."""

from typing import ClassVar

from torch import Tensor

from mmfeat.models.fusion.base import Fused, softmax_over_present
from mmfeat.models.fusion.cross import CrossFusion


class ModalityScalarFusion(CrossFusion):
    """w = softmax((q_1 · k_2, q_2 · k_1) / √d), x = w_1 h_1 + w_2 h_2: one weight a modality.

    The cross-modal attention of MOMENTA (Pramanick et al. 2021, arXiv:2109.05184), with the usual
    √d. For more modalities k is the mean over the present others. Easy to read; it cannot take
    one channel from one modality and the next from the other.
    """

    title: ClassVar[str] = "one weight a modality"

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        scores = self.scores(h, mask).sum(dim=2) / self.dim**0.5
        w = softmax_over_present(scores, mask)
        return Fused((w.unsqueeze(2) * h).sum(dim=1), w)
