"""Linear models for many penalties at once, on inputs that are prepared once.

The inputs are those of `LinearModel`, side by side, centred, and rotated to their principal axes.
That changes no prediction of a model with an L2 penalty (Hastie and Tibshirani 2004, Efficient
quadratic regularization for expression arrays), and the columns of the inputs are then orthogonal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import torch
from torch import Tensor

from mmfeat.models.linear import LinearModel, NormalizedFeatures

_MIN_EIGENVALUE = 1e-7
"""Directions with a smaller fraction of the largest eigenvalue are rounding."""

_PART_ROWS = 1024
"""Rows of a product in float32."""

_CURVATURE = 0.05
"""Assumed second derivative of the loss of a row, which only scales the steps of L-BFGS."""

_ITERATIONS = 40
"""L-BFGS iterations per penalty, from the solution of the penalty before."""

_GRADIENT_TOLERANCE, _LOSS_TOLERANCE = 1e-5, 1e-5
"""L-BFGS stops at a largest gradient, or a change of the loss or of all weights, below these."""

Solution: TypeAlias = tuple[Tensor, Tensor]
"""Weights and biases."""


@dataclass(frozen=True)
class LinearProblem:
    """Inputs of linear models for some rows, and the way back to the weights of the features.

    Attributes:
        x: float32, shape [rows, k].
        back: float32, shape [values, k]: weights of the features = back · weights of x.
        mean: shape [values]: the mean that was subtracted.
        eigenvalues: shape [k], float64: squared lengths of the columns of x.
    """

    x: Tensor
    back: Tensor
    mean: Tensor
    eigenvalues: Tensor

    @classmethod
    def prepare(cls, inputs: NormalizedFeatures) -> Self:
        """Join the columns, with a flag for each column that some rows lack, and rotate them."""
        x = join_inputs(inputs)
        mean = x.mean(dim=0)
        x = x - mean
        if x.shape[1] <= len(x):
            values, vectors = torch.linalg.eigh(_gram(x))
            kept = values > _MIN_EIGENVALUE * values[-1]
            back = vectors[:, kept].float()
            return cls(x @ back, back, mean, values[kept])
        values, vectors = torch.linalg.eigh((x @ x.T).double())
        kept = values > _MIN_EIGENVALUE * values[-1]
        lengths = values[kept].sqrt()
        rotated = (vectors[:, kept] * lengths).float()
        back = x.T @ (vectors[:, kept] / lengths).float()
        return cls(rotated, back, mean, values[kept])

    def transform(self, inputs: NormalizedFeatures) -> Tensor:
        """Return the inputs of other rows, shape [rows, k]."""
        return (join_inputs(inputs) - self.mean) @ self.back

    def fill(self, model: LinearModel, weights: Tensor, bias: Tensor) -> None:
        """Copy a solution, shapes [k, outputs] and [outputs], into a model with its scaling."""
        original = self.back @ weights
        bias = bias - self.mean @ original
        start = 0
        with torch.no_grad():
            for target in model.weights:
                target.copy_(original[start : start + target.shape[1]].T)
                start += target.shape[1]
            model.absent.copy_(original[start:])
            model.bias.copy_(bias)


def _gram(x: Tensor) -> Tensor:
    """Return xᵀx, float64: sums of float32 products of parts of the rows."""
    total = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for part in x.split(_PART_ROWS):
        total += (part.T @ part).double()
    return total


def join_inputs(inputs: NormalizedFeatures) -> Tensor:
    """Return all x̂ side by side, then a flag per absent modality; shape [rows, values]."""
    absent = [(~present).to(x) for x, present in inputs]
    return torch.cat([x for x, _ in inputs] + absent, dim=1)


def fit_logistic_path(
    x: Tensor,
    targets: Tensor,
    outputs: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    inverse_penalties: Sequence[float],
    fitted: Sequence[Tensor],
    eigenvalues: Tensor,
    iterations: int = _ITERATIONS,
) -> Iterator[Solution]:
    """Minimize mean loss + |W|² / (2 · C · rows) by L-BFGS for each C and several sets of rows.

    One pass over the inputs serves all sets: the sum of their losses is minimized.

    Args:
        x: shape [rows, k].
        targets: targets of the rows.
        outputs: length of the logits.
        loss: (logits, targets) → mean loss.
        inverse_penalties: values of C, ascending: each starts from the solution before (Friedman,
            Hastie and Tibshirani 2010, Regularization Paths for Generalized Linear Models).
        fitted: for each set the int64 positions of its rows.
        eigenvalues: squared lengths of the columns of x, which are orthogonal. Weights of long
            columns are curved more; L-BFGS minimizes over weights that are scaled for that.
        iterations: iterations for each C.

    Yields:
        Weights, shape [k, sets, outputs], and biases, shape [sets, outputs], for each C.
    """
    weights = torch.zeros(x.shape[1], len(fitted) * outputs)
    bias = torch.zeros(len(fitted) * outputs, requires_grad=True)
    own_targets = [targets[rows] for rows in fitted]
    shape = (len(fitted), outputs)
    for inverse_penalty in inverse_penalties:
        curvature = _CURVATURE * eigenvalues / len(x) + 1 / (inverse_penalty * len(x))
        scale = curvature.rsqrt().float()[:, None]
        scaled_x = x * scale.T
        scaled = (weights / scale).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [scaled, bias],
            max_iter=iterations,
            tolerance_grad=_GRADIENT_TOLERANCE,
            tolerance_change=_LOSS_TOLERANCE,
            line_search_fn="strong_wolfe",
        )

        def closure(
            inverse_penalty: float = inverse_penalty,
            optimizer: torch.optim.LBFGS = optimizer,
            scale: Tensor = scale,
            scaled: Tensor = scaled,
            scaled_x: Tensor = scaled_x,
        ) -> Tensor:
            optimizer.zero_grad()
            logits = (scaled_x @ scaled + bias).unflatten(1, shape)
            squares = (scale * scaled).square().sum(dim=0).unflatten(0, shape).sum(dim=1)
            total = torch.zeros(())
            for number, rows in enumerate(fitted):
                mean = loss(logits[rows, number], own_targets[number])
                total = total + mean + squares[number] / (2 * inverse_penalty * len(rows))
            total.backward()
            return total

        optimizer.step(closure)
        weights = scale * scaled.detach()
        yield weights.unflatten(1, shape), bias.detach().clone().unflatten(0, shape)


@dataclass(frozen=True)
class RidgePath:
    """Least squares for every penalty, with the predictions of left-out blocks of rows.

    Attributes:
        values: eigenvalues λ of the Gram matrix of the centred rows, shape [k], float64.
        left: U, shape [rows, k].
        basis: shape [inputs, k]: weights = basis · (U'y · √λ / (λ + penalty)).
        input_mean: shape [inputs].
        y: targets, shape [rows, outputs].
    """

    values: Tensor
    left: Tensor
    basis: Tensor
    input_mean: Tensor
    y: Tensor

    @classmethod
    def compute(cls, x: Tensor, y: Tensor, eigenvalues: Tensor | None = None) -> Self:
        """Decompose the smaller one of XᵀX and XXᵀ, of centred inputs, in float64.

        Args:
            x: shape [rows, inputs].
            y: shape [rows, outputs].
            eigenvalues: those of XᵀX if the columns of x are centred and orthogonal.
        """
        x, y = x.double(), y.double()
        if eigenvalues is not None:
            eye = torch.eye(x.shape[1], dtype=x.dtype)
            return cls(eigenvalues, x / eigenvalues.sqrt(), eye, x.new_zeros(x.shape[1]), y)
        mean = x.mean(dim=0)
        x = x - mean
        if x.shape[1] <= len(x):
            values, basis = torch.linalg.eigh(x.T @ x)
        else:
            values, left = torch.linalg.eigh(x @ x.T)
        kept = values > _MIN_EIGENVALUE * values[-1].clamp(min=1e-30)
        values = values[kept]
        if x.shape[1] <= len(x):
            basis = basis[:, kept]
            left = x @ (basis / values.sqrt())
        else:
            left = left[:, kept]
            basis = x.T @ (left / values.sqrt())
        return cls(values, left, basis, mean, y)

    def weights(self, inverse_penalty: float) -> tuple[Tensor, Tensor]:
        """Return weights, shape [inputs, outputs], and biases, shape [outputs], float32."""
        centred = self.y - self.y.mean(dim=0)
        scale = self.values.sqrt() / (self.values + 1 / inverse_penalty)
        weights = self.basis @ (scale[:, None] * (self.left.T @ centred))
        bias = self.y.mean(dim=0) - self.input_mean @ weights
        return weights.float(), bias.float()

    def predict_left_out(self, inverse_penalty: float, parts: Sequence[Tensor]) -> Tensor:
        """Predict each block of rows by the model of all other rows, without fitting it.

        The residuals of a left-out block F are (I − H_FF)⁻¹ r_F, H the hat matrix of all rows
        (Cook and Weisberg 1982, Residuals and Influence in Regression, section 2.2).

        Args:
            inverse_penalty: C.
            parts: int64 positions of the rows of each block.

        Returns:
            float32, shape [rows, outputs].
        """
        shrunk = self.left * (self.values / (self.values + 1 / inverse_penalty))
        centred = self.y - self.y.mean(dim=0)
        residuals = centred - shrunk @ (self.left.T @ centred)
        predictions = torch.empty_like(self.y)
        for rows in parts:
            hat = shrunk[rows] @ self.left[rows].T + 1 / len(self.y)
            own = torch.eye(len(rows), dtype=hat.dtype) - hat
            predictions[rows] = self.y[rows] - torch.linalg.solve(own, residuals[rows])
        return predictions.float()
