"""The multilabel objective: any number of labels, one binary cross-entropy each."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mmfeat.config import split_commas
from mmfeat.errors import MmfeatError
from mmfeat.models.base import Model
from mmfeat.models.tasks import Multilabel, Task
from training.metrics import (
    MULTILABEL_METRICS,
    Metric,
    binary_ece,
    binary_nll,
    evaluate_multilabel,
    fit_binary_temperature,
    fit_thresholds,
    multilabel_metric,
    multilabel_metrics,
)
from training.objectives.base import LossFunction
from training.objectives.classification import ClassificationObjective
from training.objectives.losses import MultilabelLoss
from training.objectives.targets import read_binary, read_label_sets
from training.objectives.unseen_labels import UnseenLabels
from training.recipe import Recipe

_NO_TARGET = 255
"""Value in the first column of a row without a target."""


class MultilabelObjective(ClassificationObjective):
    """Targets are uint8, shape (rows, labels): 1 if the record has the label.

    The first columns are the labels of the task; labels that no training row has follow.

    The target is one column of lists, one column of text with a separator between labels, or
    several comma-separated binary columns.
    """

    metrics: ClassVar = MULTILABEL_METRICS

    def __init__(self, target: str) -> None:
        super().__init__(target)
        names = split_commas(target)
        self.separator = ","
        self._binary_columns = names if len(names) > 1 else []
        self._bind_labels(self._binary_columns)

    @property
    def target_columns(self) -> list[str]:
        """See `Objective.target_columns`."""
        return self._binary_columns or [self.target]

    def bind_task(self, task: Task) -> None:
        """See `Objective.bind_task`."""
        super().bind_task(task)
        assert isinstance(task, Multilabel)
        self.separator = task.separator
        # Names of columns are no values: "1" and "1.0" are two columns.
        self._bind_labels(list(dict.fromkeys([*task.classes, *self._binary_columns])))

    def read_targets(self, table: pa.Table) -> np.ndarray:
        """See `Objective.read_targets`."""
        if self._binary_columns:
            return self._read_binary_columns(table)
        label_sets = read_label_sets(table, self.target, self.separator, self.null_labels)
        # Number all labels first: they determine the width of the targets.
        numbers = [None if s is None else [*map(self.number, s)] for s in label_sets]
        targets = np.zeros((len(label_sets), max(1, len(self.labels))), np.uint8)
        for row, columns in enumerate(numbers):
            if columns is None:
                targets[row, 0] = _NO_TARGET
            else:
                targets[row, columns] = 1
        return targets

    def _read_binary_columns(self, table: pa.Table) -> np.ndarray:
        columns = self._binary_columns
        values = np.stack([read_binary(table, name, self.null_labels) for name in columns], axis=1)
        # The columns that are 0 in all training rows come last, whatever their order in --target.
        targets = np.zeros(values.shape, np.uint8)
        targets[:, [*map(self.number, columns)]] = values
        targets[(values == _NO_TARGET).any(axis=1), 0] = _NO_TARGET
        return targets

    def concatenate_targets(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """See `Objective.concatenate_targets`: pads shards that lack labels of later ones."""
        width = max(part.shape[1] for part in parts)
        return np.concatenate(
            [np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts]
        )

    def has_target(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.has_target`."""
        return targets[:, 0] != _NO_TARGET

    def fit_targets(self, targets: np.ndarray, training: np.ndarray) -> np.ndarray:
        """See `Objective.fit_targets`."""
        labels = self.labels
        in_training = targets[training].any(axis=0)
        classes = sorted(label for label, n in zip(labels, in_training, strict=False) if n)
        if not classes:
            raise MmfeatError(
                f"the target {self.target!r} must give at least one label to a training row",
                got=0,
                cure="Check --target and the split column",
            )
        unseen = sorted(set(labels) - set(classes))
        old_numbers = [*map(self.number, [*classes, *unseen])]
        has_target = self.has_target(targets)
        task = Multilabel(classes, self.separator, null_labels=self.null_labels)
        self._bind_classes(task, unseen)
        encoded = targets[:, old_numbers]
        encoded[~has_target] = 0
        encoded[~has_target, 0] = _NO_TARGET
        return encoded

    def build_loss(self, recipe: Recipe) -> LossFunction:
        """See `Objective.build_loss`."""
        return MultilabelLoss(recipe, len(self.classes))

    def validate(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """See `Objective.validate`."""
        scores, known = self.predict(logits), self.comparison_targets(targets)
        return multilabel_metrics(known, scores, 0.5) | {"loss": binary_nll(scores, known)}

    def predict(self, logits: np.ndarray) -> np.ndarray:
        """See `Objective.predict`: probabilities."""
        return self.task.to_scores(logits, 1.0)

    def comparison_metric(self, name: str) -> Metric:
        """See `Objective.comparison_metric`; the threshold of all labels is 0.5."""
        return multilabel_metric(name, 0.5)

    def comparison_targets(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.comparison_targets`: without labels that no training row has."""
        return targets[:, : len(self.classes)]

    def calibrate(self, module: Model, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """See `Objective.calibrate`; each label gets the threshold with the best F1."""
        known = self.comparison_targets(targets)
        temperature = float(np.float32(fit_binary_temperature(logits, known)))
        module.temperature.fill_(temperature)
        before, after = (self.task.to_scores(logits, t) for t in (1.0, temperature))
        thresholds = fit_thresholds(after, known)
        module.thresholds.copy_(torch.from_numpy(thresholds))
        return {
            "value": temperature,
            "nll_before": binary_nll(before, known),
            "nll_after": binary_nll(after, known),
            "ece_before": binary_ece(before, known),
            "ece_after": binary_ece(after, known),
            "macro_f1_before": multilabel_metrics(known, before, 0.5)["macro_f1"],
            "macro_f1_after": multilabel_metrics(known, after, thresholds)["macro_f1"],
            "thresholds": dict(zip(self.classes, thresholds.tolist(), strict=True)),
        }

    def evaluate(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        thresholds: np.ndarray,
        present: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """See `Objective.evaluate`; labels that no training row has are only counted."""
        known = self.comparison_targets(targets)
        return evaluate_multilabel(known, scores, thresholds, present, self.classes) | {
            "unseen_labels": dict(self.unseen_labels(targets).rows)
        }

    def label_counts(self, targets: np.ndarray) -> dict[str, int]:
        """See `Objective.label_counts`."""
        counts = targets[self.has_target(targets)].sum(axis=0).tolist()
        return {label: n for label, n in zip(self.labels, counts, strict=False) if n}

    def unseen_labels(self, targets: np.ndarray) -> UnseenLabels:
        """See `Objective.unseen_labels`."""
        counts = dict(zip(self.labels, targets.sum(axis=0).tolist(), strict=False))
        known = sum(counts.pop(label) for label in self.classes)
        rows = {label: count for label, count in counts.items() if count}
        return UnseenLabels(rows, known, self.classes)

    def row_losses(self, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """See `Objective.row_losses`: the mean over the labels."""
        return binary_nll(scores, self.comparison_targets(targets), axis=1)

    def to_arrow(self, targets: np.ndarray) -> pa.Array:
        """See `Objective.to_arrow`: sorted lists of labels."""
        labels = self.labels
        return pa.array(
            [
                sorted(labels[number] for number in np.flatnonzero(row)) if has_target else None
                for row, has_target in zip(targets, self.has_target(targets), strict=True)
            ],
            pa.list_(pa.string()),
        )

    def least_squares_targets(self, targets: Tensor) -> Tensor:
        """See `Objective.least_squares_targets`: 1 if the row has the label, else -1."""
        return targets[:, : len(self.classes)] * 2.0 - 1.0

    def class_counts(self, targets: np.ndarray) -> np.ndarray | None:
        """See `Objective.class_counts`."""
        return self.comparison_targets(targets).sum(axis=0)
