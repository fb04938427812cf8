"""Ridge regression in closed form: one decomposition gives the weights for every penalty."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from mmfeat.models.architecture import Architecture
from mmfeat.models.linear import LinearModel, Scaling, normalized
from training.data.batches import Batch, Batches
from training.data.dataset import Dataset
from training.data.splits import TRAIN
from training.fit.fit_result import Fitted, validate
from training.fit.recipe import RidgeRecipe
from training.fit.scaling import find_scaling, set_scaling

_ROWS = 4096
"""Rows in memory at a time."""


def solve_ridge(
    architecture: Architecture, dataset: Dataset, recipes: Sequence[RidgeRecipe]
) -> list[Fitted]:
    """A fitted model for each recipe: argmin Σ |y - b - W x|² + |W|² / C.

    x is all x̂ of `LinearModel` and, for each modality, 1 where it is absent. Y is ±1 of each
    class or label, or the number at mean 0 and deviation 1. The rows are read a part at a time,
    once for each scaling; memory goes by the square of the length of x, or of the rows where they
    are fewer.
    (Hoerl and Kennard 1970; all penalties from one eigendecomposition: Hastie, Tibshirani and
    Friedman 2009, section 3.4.1.)
    """
    fitted: list[Fitted] = []
    for standardised in sorted({recipe.standardised for recipe in recipes}):
        alike = [recipe for recipe in recipes if recipe.standardised == standardised]
        fitted += _solve_alike(architecture, dataset, alike)
    return fitted


def _solve_alike(
    architecture: Architecture, dataset: Dataset, recipes: Sequence[RidgeRecipe]
) -> list[Fitted]:
    """Those that scale their inputs alike."""
    began = time.perf_counter()
    scaling = find_scaling(dataset, standardised=recipes[0].standardised)
    solution = Solution.of(
        dataset, scaling, sum(architecture.dims.values()) + len(architecture.dims)
    )
    shared = (time.perf_counter() - began) / len(recipes)
    fitted = []
    for recipe in recipes:
        began = time.perf_counter()
        module = LinearModel(architecture)
        set_scaling(module, scaling)
        _fill(module, *solution.at(1 / recipe.inverse_penalty))
        trained = shared + time.perf_counter() - began
        entry: dict[str, Any] = {"epoch": 1, **validate(module, dataset)}
        entry |= {"loss": entry["val_loss"], "train_seconds": trained}
        entry["seconds"] = shared + time.perf_counter() - began
        falls = recipe.metric in dataset.objective.falling
        fitted.append(Fitted(module, recipe, 1, [entry], falls))
    return fitted


@dataclass(frozen=True)
class Solution:
    """Least squares for every penalty λ: weights = basis · (rotated / (eigenvalues + λ)).

    Attributes:
        eigenvalues: of the Gram matrix, shape [k].
        basis: shape [values, k].
        rotated: shape [k, outputs].
        input_mean: shape [values].
        target_mean: shape [outputs].
    """

    eigenvalues: Tensor
    basis: Tensor
    rotated: Tensor
    input_mean: Tensor
    target_mean: Tensor

    @classmethod
    def of(cls, dataset: Dataset, scaling: dict[str, Scaling], values: int) -> Self:
        """Decompose the smaller of XᵀX and XXᵀ, of centred inputs, in float64."""
        rows = len(dataset.parts[TRAIN])
        if rows <= values:
            x, y = (torch.cat(parts) for parts in zip(*_parts(dataset, scaling), strict=True))
            x_mean, y_mean = x.mean(dim=0), y.mean(dim=0)
            x, y = x - x_mean, y - y_mean
            eigenvalues, vectors = torch.linalg.eigh(x @ x.T)
            return cls(eigenvalues, x.T @ vectors, vectors.T @ y, x_mean, y_mean)
        outputs = dataset.objective.task.outputs
        gram = torch.zeros(values, values, dtype=torch.float64)
        cross = torch.zeros(values, outputs, dtype=torch.float64)
        x_sum, y_sum = gram.new_zeros(values), gram.new_zeros(outputs)
        for x, y in _parts(dataset, scaling):
            gram.addmm_(x.T, x)
            cross.addmm_(x.T, y)
            x_sum += x.sum(dim=0)
            y_sum += y.sum(dim=0)
        x_mean, y_mean = x_sum / rows, y_sum / rows
        gram.addr_(x_mean, x_mean, alpha=-rows)
        cross.addr_(x_mean, y_mean, alpha=-rows)
        eigenvalues, vectors = torch.linalg.eigh(gram)
        return cls(eigenvalues, vectors, vectors.T @ cross, x_mean, y_mean)

    def at(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Weights, shape [values, outputs], and biases, shape [outputs]."""
        scale = 1 / (self.eigenvalues.clamp(min=0) + penalty)
        weights = self.basis @ (scale[:, None] * self.rotated)
        return weights, self.target_mean - self.input_mean @ weights


def _parts(dataset: Dataset, scaling: dict[str, Scaling]) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in Batches(dataset, _ROWS, shuffled=False):
        yield _inputs(batch, scaling).double(), dataset.objective.as_numbers(batch.targets).double()


def _inputs(batch: Batch, scaling: dict[str, Scaling]) -> Tensor:
    """All x̂, one beside the other, then what is absent; shape [batch, values]."""
    parts = [
        normalized(batch.features[name], there, scaling[name])
        for name, there in batch.present.items()
    ]
    return torch.cat([x for x, _ in parts] + [(~there).to(parts[0][0]) for _, there in parts], 1)


def _fill(module: LinearModel, weights: Tensor, bias: Tensor) -> None:
    """Put a solution where a `LinearModel` has it; columns come in the order of the batches."""
    start = 0
    with torch.no_grad():
        for weight in module.weights:
            weight.copy_(weights[start : start + weight.shape[1]].T)
            start += weight.shape[1]
        module.absent.copy_(weights[start:])
        module.bias.copy_(bias)
