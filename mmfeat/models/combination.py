"""Combinations: the layer between the fused vector and the classifier.

A new combination is one class here and one line in `COMBINATIONS`. The documented lines of the
docstrings make the table in docs/fusion.md.
"""

from torch import Tensor, nn

from mmfeat.plugins import Registry


class Combination(nn.Module):
    """Base of all combinations.

    Args:
        in_dim: length k of the fused vector.
        hidden: length d of each modality's vector, and the width of the hidden layer if any.
        dropout: fraction of the hidden units set to 0 in training.

    Attributes:
        out_dim: length of the classifier's input.
    """

    out_dim: int

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_dim = in_dim

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Combine.

        Args:
            x: shape [batch, in_dim], the fused vector.
            h: shape [batch, modalities, d], the vectors that were fused: the mean of the tokens of
                a token column, the learned vector of an absent modality.

        Returns:
            Shape [batch, out_dim].
        """
        raise NotImplementedError


class LinearCombination(Combination):
    """Pass the fused vector on: shows what the fusion can do, and overfits least.

    f(x): x
    Parameters: 0
    """

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """See `Combination.forward`."""
        return x


class MlpCombination(Combination):
    """Add one hidden layer: learns interactions itself, so `concat` is no longer additive.

    f(x): dropout(relu(W x + b))
    Parameters: k·d
    """

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__(in_dim, hidden, dropout)
        self.dense = nn.Linear(in_dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out_dim = hidden

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """See `Combination.forward`."""
        out: Tensor = self.dropout(self.dense(x).relu())
        return out


class AddCombination(Combination):
    """Add the sum of the modalities: the fusion only learns what the sum does not contain.

    f(x): P x + Σ_m h_m; P only if k ≠ d; absent modalities add a_m
    Parameters: k·d, or 0 if k = d
    """

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__(in_dim, hidden, dropout)
        self.dense = nn.Identity() if in_dim == hidden else nn.Linear(in_dim, hidden)
        self.out_dim = hidden

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """See `Combination.forward`."""
        out: Tensor = self.dense(x) + h.sum(dim=1)
        return out


class BilinearCombination(Combination):
    """Multiply channels, also within one modality: a quadratic form of rank d per output.

    f(x): P dropout(U x ⊙ V x), each with a bias, which keeps the linear terms
    Parameters: 2k·d + d²
    """

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


COMBINATIONS: Registry[type[Combination]] = Registry(
    "mmfeat.combinations",
    {
        "add": AddCombination,
        "bilinear": BilinearCombination,
        "linear": LinearCombination,
        "mlp": MlpCombination,
    },
)
