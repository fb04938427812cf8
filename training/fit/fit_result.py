"""The result of a fit, and the forward pass over the rows of a split."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmfeat.models.base import Model
from mmfeat.models.inference import InferenceOutput, run_model
from training.data import VAL, Dataset
from training.objectives.describe import DescribeObjective
from training.recipe import Recipe


@dataclass(frozen=True)
class FitResult:
    """A fitted model at its best epoch.

    Attributes:
        module: the model.
        recipe: its recipe.
        epoch: the best epoch, counted from 1.
        log: metrics of each epoch.
        minimized: whether a lower value of the recipe's metric is better.
    """

    module: Model
    recipe: Recipe
    epoch: int
    log: list[dict[str, Any]]
    minimized: bool = False

    @property
    def score(self) -> float | None:
        """The metric on validation; None if it is undefined there."""
        value = self.log[self.epoch - 1][f"val_{self.recipe.metric}"]
        return None if value is None else float(value)

    @property
    def loss(self) -> float:
        """The loss on validation; infinite if no validation row has a known label."""
        loss = self.log[self.epoch - 1]["val_loss"]
        return math.inf if loss is None else float(loss)

    @property
    def sort_key(self) -> tuple[float, float]:
        """Key of the best result under `max`: the metric, then the loss.

        The loss is rounded to a thousandth: smaller differences do not matter.
        """
        score = -math.inf if self.score is None else self.score
        return -score if self.minimized else score, -round(self.loss, 3)


def stalled_epochs(log: Sequence[Mapping[str, Any]], metric: str, *, minimized: bool) -> int:
    """Return the number of epochs since the validation metric last improved.

    A lower loss is no improvement: it goes down slowly for as long as a model trains. It counts
    while the metric is undefined.
    """
    best, best_epoch = (-math.inf, -math.inf), 0
    for number, metrics in enumerate(log, 1):
        score, loss = metrics[f"val_{metric}"], metrics["val_loss"]
        if score is not None:
            key = (-score if minimized else score, 0.0)
        else:
            key = (-math.inf, -math.inf if loss is None else -round(loss, 3))
        if not best_epoch or key > best:
            best, best_epoch = key, number
    return len(log) - best_epoch


def best_result(results: Sequence[FitResult]) -> FitResult:
    """Return the result that is best on validation; the first of equal ones."""
    return max(results, key=lambda result: result.sort_key)


def validate(module: Model, dataset: Dataset) -> dict[str, float | None]:
    """Return metrics and loss on validation, named as in an epoch's log."""
    return validation_metrics(dataset, compute_logits(module, dataset, dataset.split_rows[VAL]))


def validation_metrics(dataset: Dataset, logits: np.ndarray) -> dict[str, float | None]:
    """Return metrics and loss of the logits of all validation rows, named as in an epoch's log."""
    values = dataset.objective.validate(dataset.targets[dataset.split_rows[VAL]], logits)
    return {f"val_{name}": value for name, value in values.items()}


def compute_logits(module: Model, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return the logits of some rows, float32, shape (rows, outputs).

    Of a model that describes: the losses of the references, as no text needs to be generated.
    """
    if isinstance(dataset.objective, DescribeObjective):
        parts = dataset.features.iterate_parts(rows)
        return dataset.objective.validation_outputs(module, dataset.targets[rows], parts)
    return run_rows(module, dataset, rows).logits


def run_rows(module: Model, dataset: Dataset, rows: np.ndarray) -> InferenceOutput:
    """Run the model on some rows; at least one. Features are read in parts.

    Args:
        module: the model.
        dataset: the dataset with the model's columns.
        rows: int64 row numbers.
    """
    parts: list[InferenceOutput] = []
    first = 0
    for part in dataset.features.iterate_parts(rows):
        output = run_model(module, *part)
        targets = dataset.targets[rows[first : (first := first + len(output.logits))]]
        logits = dataset.objective.complete_outputs(module, *part, targets, output.logits)
        parts.append(output._replace(logits=logits))
    weights = [part.weights for part in parts if part.weights is not None]
    return InferenceOutput(
        np.concatenate([part.logits for part in parts]),
        np.concatenate(weights) if weights else None,
        np.concatenate([part.present for part in parts]),
    )
