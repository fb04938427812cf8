"""Kernel ridge regression in closed form, with the predictions of left-out blocks of rows.

The kernel is exp(-γ d) + 1 of squared distances d; 1 is the variance of the prior of an intercept.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

GAMMAS = (0.1, 0.3, 1.0, 3.0)
"""Values of γ to try. The distance of two vectors of length 1 is at most 4."""

PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""Values to try of the penalty, the variance of the noise of a Gaussian process."""

MAX_KERNEL_ROWS = 3000
"""Maximum number of rows of a kernel model. The work grows with their cube."""


class KernelFit(NamedTuple):
    """A kernel model and its predictions.

    Attributes:
        weights: float64, shape [rows, outputs]; their sums are the biases.
        left_out: float64, shape [rows, outputs]: predictions of each block by the model of all
            other rows; the targets where a row is in no block.
    """

    weights: Tensor
    left_out: Tensor


def fit_kernel(kernel: Tensor, y: Tensor, penalty: float, parts: Sequence[Tensor]) -> KernelFit:
    """Minimize Σ |y - f(x)|² + penalty · |f|², and predict each block of rows without it.

    With C = (K + penalty)⁻¹ and α = C y, the residuals of a left-out block F are C_FF⁻¹ α_F
    (Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, section 5.4.2, for
    blocks).

    Args:
        kernel: K, float64, shape [rows, rows].
        y: targets, float64, shape [rows, outputs].
        penalty: the penalty, positive.
        parts: int64 positions of the rows of each block.

    Raises:
        RuntimeError: K + penalty is not positive definite, as for features that are not finite.
    """
    penalized = kernel.clone()
    penalized.diagonal().add_(penalty)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(penalized))
    weights = inverse @ y
    left_out = y.clone()
    for rows in parts:
        left_out[rows] -= torch.linalg.solve(inverse[rows][:, rows], weights[rows])
    return KernelFit(weights, left_out)
