"""A small network between the fusion and the classifier."""

from typing import ClassVar

from torch import Tensor, nn

from mmfeat.models.combination.base import Combination


class MlpCombination(Combination):
    """f(x) = relu(W x + b), then dropout. It can hide a weak fusion: compare with `linear`."""

    title: ClassVar[str] = "one hidden layer"

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__(in_dim, hidden, dropout)
        self.dense = nn.Linear(in_dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out_dim = hidden

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """See `Combination.forward`."""
        out: Tensor = self.dropout(self.dense(x).relu())
        return out
