"""What a combination is: the step from the fused vector to the classifier's input."""

from typing import ClassVar

from torch import Tensor, nn


class Combination(nn.Module):
    """Base of all combinations.

    Args:
        in_dim: length of the fused vector.
        hidden: d, the length of each modality's vector, and the width where there is one.
        dropout: part of its units set to 0 in training, where it has any.

    Attributes:
        out_dim: length of what goes to the classifier.
    """

    title: ClassVar[str] = ""
    """A few words for a table."""

    out_dim: int

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_dim = in_dim

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Combine.

        Args:
            x: shape [batch, in_dim], the fused vector.
            h: shape [batch, modalities, d], what was fused; the mean of its tokens where a
                modality has tokens, its learned vector where it is absent.

        Returns:
            Shape [batch, out_dim].
        """
        raise NotImplementedError
