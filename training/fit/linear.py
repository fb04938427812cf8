"""Fit linear models: logistic regression by L-BFGS, ridge regression in closed form."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.linear import (
    LinearModel,
    NormalizedFeatures,
    NormalizedModel,
    Scaling,
    normalize_features,
    pool_tokens,
)
from training.data import TRAIN, Batch, Batches, Dataset
from training.fit.fit_result import FitResult, validate
from training.recipe import LogisticRecipe, RidgeRecipe

MAX_CACHED_BYTES = 1 << 28
"""Maximum size of the normalized rows that logistic regression keeps between passes."""

_PART_ROWS = 4096
"""Rows in memory at a time."""

_MIN_NONZERO = 0.5
"""Minimum fraction of nonzero values in a dense column. In a sparse column, such as word counts,
a division by the deviations gives the rarest values the largest weight."""

_MIN_DEVIATION = 1e-3
"""A value whose deviation is a smaller fraction of the column's largest one is set to 0."""

_ITERATIONS = 20
"""L-BFGS iterations in an epoch of the log."""

_MIN_IMPROVEMENT = 1e-4
"""Training stops after an epoch that lowers the loss by a smaller fraction."""


def fit_logistic(
    architecture: Architecture,
    dataset: Dataset,
    recipe: LogisticRecipe,
    on_epoch: Callable[[dict[str, Any]], None] = lambda metrics: None,
    start_from: Model | None = None,
) -> FitResult:
    """Minimize mean cross-entropy + penalty / (C · rows) by L-BFGS.

    The problem is convex. Validation does not stop it: the last epoch is the best one.

    Args:
        architecture: the layers.
        dataset: the rows.
        recipe: the settings.
        on_epoch: called with the metrics of each epoch.
        start_from: the solution with the same scaling and the next smaller C, from which the way
            is shorter (Friedman, Hastie and Tibshirani 2010, Regularization Paths for Generalized
            Linear Models); None = start from 0.
    """
    model = LinearModel(architecture)
    if start_from:
        model.load_state_dict(start_from.state_dict())
    else:
        set_scaling(model, find_scaling(dataset, standardised=recipe.standardised))
    rows = len(dataset.split_rows[TRAIN])
    inputs = NormalizedRows(model, dataset)
    objective = dataset.objective
    loss_function = objective.build_loss(recipe)
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = model.penalty() / (recipe.inverse_penalty * rows)
        total.backward()
        for features, targets in inputs:
            logits = model.compute_logits(features)
            loss = loss_function(logits, targets) * (len(logits) / rows)
            loss.backward()
            total = total.detach() + loss.detach()
        return total

    log: list[dict[str, Any]] = []
    last_loss = float("inf")
    for epoch in range(1, recipe.epochs + 1):
        start = time.perf_counter()
        optimizer.step(closure)
        train_seconds = time.perf_counter() - start
        loss = float(closure())
        log.append(
            {"epoch": epoch, "loss": loss}
            | validate(model, dataset)
            | {"seconds": time.perf_counter() - start, "train_seconds": train_seconds}
        )
        on_epoch(log[-1])
        if last_loss - loss <= _MIN_IMPROVEMENT * loss:
            break
        last_loss = loss
    return FitResult(model, recipe, len(log), log, recipe.metric in objective.minimized)


class NormalizedRows:
    """Normalized training rows, for repeated passes.

    They are normalized once if the result fits into `MAX_CACHED_BYTES`, else in every pass.
    """

    def __init__(self, model: LinearModel, dataset: Dataset) -> None:
        self._model = model
        self._batches = Batches(dataset, _PART_ROWS, shuffled=False)
        values = sum(model.architecture.dims.values())
        fits = 4 * values * len(dataset.split_rows[TRAIN]) <= MAX_CACHED_BYTES
        self._cache = list(self._normalize()) if fits else None

    def __iter__(self) -> Iterator[tuple[NormalizedFeatures, Tensor]]:
        return iter(self._cache) if self._cache is not None else self._normalize()

    def _normalize(self) -> Iterator[tuple[NormalizedFeatures, Tensor]]:
        for batch in self._batches:
            yield self._model.normalize(batch.features, batch.present), batch.targets


def fit_ridge(
    architecture: Architecture, dataset: Dataset, recipes: Sequence[RidgeRecipe]
) -> list[FitResult]:
    """Fit each recipe in closed form: argmin Σ |y - b - W x|² + |W|² / C.

    x is all x̂ of `LinearModel` and, for each modality, 1 if it is absent. y is ±1 for each class
    or label, or the number at mean 0 and standard deviation 1. Rows are read in parts, once per
    scaling. Memory grows with the square of the length of x, or of the number of rows if smaller.
    (Hoerl and Kennard 1970. One eigendecomposition serves all penalties: Hastie, Tibshirani and
    Friedman 2009, section 3.4.1.)
    """
    results: list[FitResult] = []
    for standardised in sorted({recipe.standardised for recipe in recipes}):
        group = [recipe for recipe in recipes if recipe.standardised == standardised]
        results += _fit_penalties(architecture, dataset, group)
    return results


def _fit_penalties(
    architecture: Architecture, dataset: Dataset, recipes: Sequence[RidgeRecipe]
) -> list[FitResult]:
    """Fit recipes that differ in their penalty only."""
    start = time.perf_counter()
    scaling = find_scaling(dataset, standardised=recipes[0].standardised)
    solution = RidgeSolution.compute(
        dataset, scaling, sum(architecture.dims.values()) + len(architecture.dims)
    )
    shared_seconds = (time.perf_counter() - start) / len(recipes)
    results = []
    for recipe in recipes:
        start = time.perf_counter()
        model = LinearModel(architecture)
        set_scaling(model, scaling)
        _set_weights(model, *solution.weights(1 / recipe.inverse_penalty))
        train_seconds = shared_seconds + time.perf_counter() - start
        metrics: dict[str, Any] = {"epoch": 1, **validate(model, dataset)}
        metrics |= {"loss": metrics["val_loss"], "train_seconds": train_seconds}
        metrics["seconds"] = shared_seconds + time.perf_counter() - start
        minimized = recipe.metric in dataset.objective.minimized
        results.append(FitResult(model, recipe, 1, [metrics], minimized))
    return results


@dataclass(frozen=True)
class RidgeSolution:
    """Least squares for every penalty λ: weights = basis · (rotated / (eigenvalues + λ)).

    Attributes:
        eigenvalues: eigenvalues of the Gram matrix, shape [k].
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
    def compute(cls, dataset: Dataset, scaling: dict[str, Scaling], values: int) -> Self:
        """Decompose the smaller one of XᵀX and XXᵀ, of centred inputs, in float64."""
        rows = len(dataset.split_rows[TRAIN])
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

    def weights(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Return weights, shape [values, outputs], and biases, shape [outputs]."""
        scale = 1 / (self.eigenvalues.clamp(min=0) + penalty)
        weights = self.basis @ (scale[:, None] * self.rotated)
        return weights, self.target_mean - self.input_mean @ weights


def _parts(dataset: Dataset, scaling: dict[str, Scaling]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and targets of the training rows in float64."""
    for batch in Batches(dataset, _PART_ROWS, shuffled=False):
        targets = dataset.objective.least_squares_targets(batch.targets)
        yield _inputs(batch, scaling).double(), targets.double()


def _inputs(batch: Batch, scaling: dict[str, Scaling]) -> Tensor:
    """Return all x̂ side by side, then a flag per absent modality; shape [batch, values]."""
    columns = [
        normalize_features(batch.features[name], present, scaling[name])
        for name, present in batch.present.items()
    ]
    absent = [(~present).to(x) for x, present in columns]
    return torch.cat([x for x, _ in columns] + absent, 1)


def _set_weights(model: LinearModel, weights: Tensor, bias: Tensor) -> None:
    """Copy a solution into a model. Its columns have the order of the batches."""
    start = 0
    with torch.no_grad():
        for weight in model.weights:
            weight.copy_(weights[start : start + weight.shape[1]].T)
            start += weight.shape[1]
        model.absent.copy_(weights[start:])
        model.bias.copy_(bias)


def dense_columns(dataset: Dataset) -> set[str]:
    """Return the columns whose values can be standardized, judged by the first training rows."""
    batch = next(iter(Batches(dataset, _PART_ROWS, shuffled=False)))
    dense = set()
    for name, values in batch.features.items():
        x, present = pool_tokens(values, batch.present[name])
        if (x != 0).sum() >= _MIN_NONZERO * present.sum() * x.shape[1]:
            dense.add(name)
    return dense


def find_scaling(dataset: Dataset, *, standardised: bool) -> dict[str, Scaling]:
    """Return the scaling of each column, from the training rows that have it.

    Args:
        dataset: the rows.
        standardised: whether to divide each value of a dense column by its standard deviation.
    """
    sums: dict[str, Tensor] = {}
    for batch in Batches(dataset, _PART_ROWS, shuffled=False):
        for name, values in batch.features.items():
            x, present = pool_tokens(values, batch.present[name])
            x = x.double()
            rows = present.sum().expand(x.shape[1]).double()
            part = torch.stack([rows, x.sum(dim=0), x.square().sum(dim=0)])
            sums[name] = sums[name] + part if name in sums else part
    divided = dense_columns(dataset) if standardised else set()
    return {name: _scaling(total, name in divided) for name, total in sums.items()}


def _scaling(sums: Tensor, divided: bool) -> Scaling:
    rows, total, squares = sums
    mean = total / rows.clamp(min=1)
    scale = torch.ones_like(mean)
    if divided:
        deviation = (squares / rows.clamp(min=1) - mean.square()).clamp(min=0).sqrt()
        varies = deviation > _MIN_DEVIATION * deviation.max()
        scale = torch.where(varies, 1 / deviation, 0)
    return Scaling(mean.float(), scale.float())


def set_scaling(model: NormalizedModel, scaling: dict[str, Scaling]) -> None:
    """Copy a scaling into a model."""
    for name, buffers in model.scaling.items():
        buffers.mean.copy_(scaling[name].mean)
        buffers.scale.copy_(scaling[name].scale)
