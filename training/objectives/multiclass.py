"""The multiclass objective: exactly one class, cross-entropy."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from mmfeat.models.base import Model
from mmfeat.models.tasks import Multiclass
from training.metrics import ece, evaluate_multiclass, fit_temperature, multiclass_metrics, nll
from training.objectives.base import LossFunction
from training.objectives.classification import ClassificationObjective
from training.objectives.losses import MulticlassLoss
from training.objectives.targets import find_classes, read_labels
from training.objectives.unseen_labels import UnseenLabels
from training.recipe import Recipe


class MulticlassObjective(ClassificationObjective):
    """Targets are int64 class numbers; -1 if there is no target.

    Numbers from the number of classes on are labels that no training row has.
    """

    metrics: ClassVar = ("accuracy", "balanced_accuracy", "macro_f1")

    def read_targets(self, table: pa.Table) -> np.ndarray:
        """See `Objective.read_targets`."""
        return np.array(
            [
                -1 if label is None else self.number(label)
                for label in read_labels(table, self.target, self.null_labels)
            ],
            np.int64,
        )

    def has_target(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.has_target`."""
        return targets >= 0

    def fit_targets(self, targets: np.ndarray, training: np.ndarray) -> np.ndarray:
        """See `Objective.fit_targets`."""
        labels = self.labels
        numbers, counts = np.unique(targets[training], return_counts=True)
        classes = find_classes(
            {labels[n]: int(c) for n, c in zip(numbers, counts, strict=True)}, self.target
        )
        self._bind_classes(
            Multiclass(classes, null_labels=self.null_labels), sorted(set(labels) - set(classes))
        )
        # The last entry maps -1, rows without a label, to itself.
        new_numbers = np.array([*map(self.number, labels), -1])
        return new_numbers[targets]

    def build_loss(self, recipe: Recipe) -> LossFunction:
        """See `Objective.build_loss`."""
        return MulticlassLoss(recipe)

    def validate(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """See `Objective.validate`."""
        metrics = multiclass_metrics(targets, logits.argmax(axis=1))
        loss = nll(self.task.to_scores(logits, 1.0), self._mask_unseen(targets))
        return metrics | {"loss": loss}

    def predict(self, logits: np.ndarray) -> np.ndarray:
        """See `Objective.predict`: class numbers."""
        return logits.argmax(axis=1).astype(np.int32)

    def calibrate(self, module: Model, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """See `Objective.calibrate`."""
        known = self._mask_unseen(targets)
        temperature = float(np.float32(fit_temperature(logits, known)))
        module.temperature.fill_(temperature)
        before, after = (self.task.to_scores(logits, t) for t in (1.0, temperature))
        return {
            "value": temperature,
            "nll_before": nll(before, known),
            "nll_after": nll(after, known),
            "ece_before": ece(before, known),
            "ece_after": ece(after, known),
        }

    def evaluate(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        thresholds: np.ndarray,
        present: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """See `Objective.evaluate`.

        A label that no training row has counts as a class that is never predicted: every such row
        is an error.
        """
        return evaluate_multiclass(targets, scores, present, self.classes) | {
            "unseen_labels": dict(self.unseen_labels(targets).rows)
        }

    def unseen_labels(self, targets: np.ndarray) -> UnseenLabels:
        """See `Objective.unseen_labels`."""
        unseen = Counter(self.labels[n] for n in targets[targets >= len(self.classes)])
        known = len(targets) - unseen.total()
        return UnseenLabels(dict(sorted(unseen.items())), known, self.classes)

    def row_losses(self, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """See `Objective.row_losses`: -log p of the class."""
        known = self._mask_unseen(targets)
        p = np.where(known >= 0, scores[np.arange(len(scores)), known], 0).astype(np.float64)
        with np.errstate(divide="ignore"):
            return -np.log(p)

    def to_arrow(self, targets: np.ndarray) -> pa.Array:
        """See `Objective.to_arrow`."""
        labels = self.labels
        return pa.array([labels[n] if n >= 0 else None for n in targets], pa.string())

    def least_squares_targets(self, targets: Tensor) -> Tensor:
        """See `Objective.least_squares_targets`: 1 for the class, -1 for all others."""
        return nn.functional.one_hot(targets, len(self.classes)) * 2.0 - 1.0

    def has_known_label(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.has_known_label`."""
        return (targets >= 0) & (targets < len(self.classes))

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.strata`: the class."""
        return targets

    def class_counts(self, targets: np.ndarray) -> np.ndarray | None:
        """See `Objective.class_counts`."""
        return np.bincount(targets, minlength=len(self.classes))

    def label_counts(self, targets: np.ndarray) -> dict[str, int]:
        """See `Objective.label_counts`."""
        counts = np.bincount(targets[self.has_target(targets)], minlength=len(self.labels))
        return {label: int(n) for label, n in zip(self.labels, counts, strict=True) if n}

    def _mask_unseen(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets, -1 for labels that no training row has."""
        return np.where(targets < len(self.classes), targets, -1)
