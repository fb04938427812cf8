"""A fitted model, and what every way of fitting shares: the loss and the look at validation."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmfeat.models.base import Model
from mmfeat.models.inference import run, softmax
from training.calibration import nll
from training.data import Dataset
from training.metrics import scores
from training.recipe import Recipe
from training.splits import VAL


@dataclass(frozen=True)
class Fitted:
    """A fitted model at its best epoch.

    Attributes:
        epoch: the best epoch, from 1.
        log: one entry an epoch.
    """

    module: Model
    recipe: Recipe
    epoch: int
    log: list[dict[str, Any]]

    @property
    def score(self) -> float:
        """Its metric on validation."""
        return float(self.log[self.epoch - 1][f"val_{self.recipe.metric}"])

    @property
    def loss(self) -> float:
        """Its NLL on validation; infinite where validation has no label the model knows."""
        nll = self.log[self.epoch - 1]["val_nll"]
        return math.inf if nll is None else float(nll)

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better: the metric, and where it ties the loss to a thousandth.

        Without that bound a model that is right everywhere would train on for a loss of 1e-5.
        """
        return self.score, -round(self.loss, 3)


class Loss:
    """Cross-entropy, with the log prior added to the logits where the recipe says so."""

    def __init__(self, recipe: Recipe) -> None:
        self._log_prior = torch.tensor(recipe.log_prior) if recipe.log_prior else None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self._log_prior is not None:
            logits = logits + self._log_prior
        return nn.functional.cross_entropy(logits, labels)


def validate(module: Model, dataset: Dataset) -> dict[str, Any]:
    """The three scores and the NLL on validation, as an epoch's log names them."""
    rows = dataset.parts[VAL]
    labels = dataset.labels[rows]
    logits = run(module, *dataset.features_of(rows)).logits
    values = scores(labels, logits.argmax(axis=1)) | {"nll": nll(softmax(logits), labels)}
    return {f"val_{name}": value for name, value in values.items()}
