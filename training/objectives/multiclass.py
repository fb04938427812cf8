"""One class out of several: cross-entropy."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from mmfeat.models.base import Model
from mmfeat.models.tasks import Multiclass
from training.data.targets import find_classes, read_labels
from training.evaluation.calibration import ece, fit_temperature, nll
from training.evaluation.metrics import class_scores, measure_classes
from training.fit.recipe import Recipe
from training.objectives import imbalance
from training.objectives.base import LossFunction
from training.objectives.named import NamedObjective


class MulticlassObjective(NamedObjective):
    """Targets are int64: the number of the class; behind the classes, labels that no training row
    has; -1 for none."""

    metrics: ClassVar = ("accuracy", "balanced_accuracy", "macro_f1")

    def read(self, table: pa.Table) -> np.ndarray:
        """See `Objective.read`."""
        return np.array(
            [
                -1 if label is None else self.number(label)
                for label in read_labels(table[self.target], self.target)
            ],
            np.int64,
        )

    def known(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.known`."""
        return targets >= 0

    def settle(self, targets: np.ndarray, training: np.ndarray) -> np.ndarray:
        """See `Objective.settle`."""
        names = self.names
        numbers, counts = np.unique(targets[training], return_counts=True)
        classes = find_classes(
            {names[n]: int(c) for n, c in zip(numbers, counts, strict=True)}, self.target
        )
        self._settle_names(Multiclass(classes), sorted(set(names) - set(classes)))
        # One more for the rows without a label: -1 is the last entry.
        order = np.array([*map(self.number, names), -1])
        return order[targets]

    def loss(self, recipe: Recipe) -> LossFunction:
        """See `Objective.loss`."""
        return MulticlassLoss(recipe)

    def validate(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """See `Objective.validate`."""
        scores = class_scores(targets, logits.argmax(axis=1))
        return scores | {"loss": nll(self.task.scores(logits, 1.0), self._trained(targets))}

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """See `Objective.decide`: the number of the class."""
        return logits.argmax(axis=1).astype(np.int32)

    def calibrate(self, module: Model, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """See `Objective.calibrate`."""
        trained = self._trained(targets)
        temperature = np.float32(fit_temperature(logits, trained))
        module.temperature.fill_(float(temperature))
        before, after = self.task.scores(logits, 1.0), self.task.scores(logits, float(temperature))
        return {
            "value": float(temperature),
            "nll_before": nll(before, trained),
            "nll_after": nll(after, trained),
            "ece_before": ece(before, trained),
            "ece_after": ece(after, trained),
        }

    def measure(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        thresholds: np.ndarray,
        present: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """See `Objective.measure`.

        A label that no training row had counts as a class of its own that is never predicted: an
        error in every row.
        """
        names = self.names
        unseen = Counter(names[number] for number in targets[targets >= len(self.classes)])
        return measure_classes(targets, scores, present, self.classes) | {
            "unseen_labels": dict(sorted(unseen.items()))
        }

    def row_losses(self, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """See `Objective.row_losses`: -log p of the class."""
        seen = self._trained(targets)
        right = np.where(seen >= 0, scores[np.arange(len(scores)), seen], 0).astype(np.float64)
        with np.errstate(divide="ignore"):
            return -np.log(right)

    def as_column(self, targets: np.ndarray) -> pa.Array:
        """See `Objective.as_column`."""
        names = self.names
        return pa.array([names[number] if number >= 0 else None for number in targets], pa.string())

    def as_numbers(self, targets: Tensor) -> Tensor:
        """See `Objective.as_numbers`: 1 for the class, -1 for all others."""
        return nn.functional.one_hot(targets, len(self.classes)) * 2.0 - 1.0

    def counts(self, targets: np.ndarray) -> np.ndarray | None:
        """See `Objective.counts`."""
        return np.bincount(targets, minlength=len(self.classes))

    def _trained(self, targets: np.ndarray) -> np.ndarray:
        """The targets, -1 where training never saw the label."""
        return np.where(targets < len(self.classes), targets, -1)


class MulticlassLoss:
    """Cross-entropy, weighed or shifted as the recipe says against unbalanced classes."""

    def __init__(self, recipe: Recipe) -> None:
        prior = torch.tensor(recipe.prior)
        self._adjustment = self._weights = None
        self._focus = 0.0
        match recipe.imbalance:
            case imbalance.LOGIT_ADJUSTMENT:
                self._adjustment = prior.log()
            case imbalance.CLASS_WEIGHTS:
                self._weights = 1 / (prior * len(prior))
            case imbalance.FOCAL:
                self._focus = imbalance.FOCUS

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self._adjustment is not None:
            logits = logits + self._adjustment
        if self._focus:
            losses = nn.functional.cross_entropy(logits, targets, reduction="none")
            return ((1 - (-losses).exp()) ** self._focus * losses).mean()
        return nn.functional.cross_entropy(logits, targets, weight=self._weights)
