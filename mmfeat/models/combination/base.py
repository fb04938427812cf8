"""What a combination is: the step from the fused vector to the classifier's input."""

from torch import Tensor, nn


class Combination(nn.Module):
    """Base of all combinations.

    Args:
        in_dim: length of the fused vector.
        hidden: width, where the combination has one.
        dropout: part of its units set to 0 in training, where it has any.

    Attributes:
        out_dim: length of what goes to the classifier.
    """

    out_dim: int

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_dim = in_dim

    def forward(self, x: Tensor) -> Tensor:
        """Shape [batch, in_dim] → [batch, out_dim]."""
        raise NotImplementedError
