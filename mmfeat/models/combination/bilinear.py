"""Products among the channels of the fused vector."""

from typing import ClassVar

from torch import Tensor, nn

from mmfeat.models.combination.base import Combination


class BilinearCombination(Combination):
    """f(x) = P dropout(U x ⊙ V x): a quadratic form of rank d for each output.

    Like `mlp`, it makes interactions of its own, so it can hide a weak fusion. U, V and P have
    biases, so that the linear terms are among its products.
    """

    title: ClassVar[str] = "low-rank quadratic form"

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__(in_dim, hidden, dropout)
        self.left, self.right = nn.Linear(in_dim, hidden), nn.Linear(in_dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, hidden)
        self.out_dim = hidden

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """See `Combination.forward`."""
        out: Tensor = self.out(self.dropout(self.left(x) * self.right(x)))
        return out
