"""Feature-wise linear modulation of one modality by the others."""

from torch import Tensor, nn

from mmfeat.models.fusion.base import FusionOutput, PooledFusion


class FilmFusion(PooledFusion):
    """Scale and shift the first modality by the others: for one main modality.

    Fused vector: γ ⊙ h_1 + β, γ = 1 + Σ_n (G_n h_n + g_n), β = Σ_n (B_n h_n + b_n) over the present
        others n
    Absent modality: a_1 replaces h_1; the others leave the sums
    Parameters: 2(M−1)·d²
    Source: Perez et al. 2018, arXiv:1709.07871
    """

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__(modalities, dim)
        self.modulators = nn.ModuleList(nn.Linear(dim, 2 * dim) for _ in range(modalities - 1))

    def forward(self, h: Tensor, mask: Tensor) -> FusionOutput:
        """See `PooledFusion.forward`."""
        total = h.new_zeros(len(h), 2 * self.dim)
        for n, modulator in enumerate(self.modulators, start=1):
            total = total + mask[:, n, None] * modulator(h[:, n])
        gamma, beta = total.chunk(2, dim=1)
        return FusionOutput((1 + gamma) * h[:, 0] + beta, None)
