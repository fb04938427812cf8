"""Feature-wise linear modulation (Perez et al. 2018, arXiv:1709.07871)."""

from typing import ClassVar

from torch import Tensor, nn

from mmfeat.models.fusion.base import Fused, PooledFusion


class FilmFusion(PooledFusion):
    """x = γ ⊙ h_1 + β, γ = 1 + Σ_n (G_n h_n + g_n), β = Σ_n (B_n h_n + b_n) over the others n.

    The first modality is stretched and shifted, channel by channel, by the others that are
    present; without any of them x = h_1. Where the first is absent its learned vector is modulated.
    """

    title: ClassVar[str] = "first modality modulated by the others"

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.modulators = nn.ModuleList(nn.Linear(dim, 2 * dim) for _ in range(modalities - 1))

    def forward(self, h: Tensor, mask: Tensor) -> Fused:
        """See `PooledFusion.forward`."""
        total = h.new_zeros(len(h), 2 * self.dim)
        for n, modulator in enumerate(self.modulators, start=1):
            total = total + mask[:, n, None] * modulator(h[:, n])
        gamma, beta = total.chunk(2, dim=1)
        return Fused((1 + gamma) * h[:, 0] + beta, None)
