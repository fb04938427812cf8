"""The fused vector beside what was fused: a residual around the fusion."""

from typing import ClassVar

from torch import Tensor, nn

from mmfeat.models.combination.base import Combination


class AddCombination(Combination):
    """f(x) = P x + Σ_m h_m: the fusion needs to learn only what the sum does not say.

    P is a linear map where x is not of length d, and nothing where it is.
    """

    title: ClassVar[str] = "added to the sum of the modalities"

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__(in_dim, hidden, dropout)
        self.dense = nn.Identity() if in_dim == hidden else nn.Linear(in_dim, hidden)
        self.out_dim = hidden

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """See `Combination.forward`."""
        out: Tensor = self.dense(x) + h.sum(dim=1)
        return out
