"""A fitted model, and the look at validation that every way of fitting shares."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmfeat.models.base import Model
from mmfeat.models.inference import run
from training.data.dataset import Dataset
from training.data.splits import VAL
from training.fit.recipe import Recipe


@dataclass(frozen=True)
class Fitted:
    """A fitted model at its best epoch.

    Attributes:
        epoch: the best epoch, from 1.
        log: one entry an epoch.
        falls: whether less of the recipe's metric is better.
    """

    module: Model
    recipe: Recipe
    epoch: int
    log: list[dict[str, Any]]
    falls: bool = False

    @property
    def score(self) -> float | None:
        """Its metric on validation; None where validation cannot tell."""
        value = self.log[self.epoch - 1][f"val_{self.recipe.metric}"]
        return None if value is None else float(value)

    @property
    def loss(self) -> float:
        """Its loss on validation; infinite where validation has no label the model knows."""
        loss = self.log[self.epoch - 1]["val_loss"]
        return math.inf if loss is None else float(loss)

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better: the metric, and where it ties the loss to a thousandth.

        Without that bound a model that is right everywhere would train on for a loss of 1e-5.
        """
        score = -math.inf if self.score is None else self.score
        return -score if self.falls else score, -round(self.loss, 3)


def validate(module: Model, dataset: Dataset) -> dict[str, float | None]:
    """The metrics and the loss on validation, as an epoch's log names them."""
    rows = dataset.parts[VAL]
    values = dataset.objective.validate(dataset.targets[rows], logits_of(module, dataset, rows))
    return {f"val_{name}": value for name, value in values.items()}


def logits_of(module: Model, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Logits of some rows, float32, shape (rows, outputs); their features a part at a time."""
    return np.concatenate(
        [
            run(module, features, present).logits
            for _, features, present in dataset.features.in_parts(rows)
        ]
    )
