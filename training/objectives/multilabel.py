"""Any number of labels: a binary cross-entropy each."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from mmfeat.config.flags import comma_list
from mmfeat.errors import MmfeatError
from mmfeat.models.base import Model
from mmfeat.models.tasks import Multilabel, Task
from training.data.targets import read_flags, read_label_sets
from training.evaluation.calibration import (
    binary_ece,
    binary_nll,
    fit_binary_temperature,
    fit_thresholds,
)
from training.evaluation.metrics import label_scores, measure_labels
from training.evaluation.statistics import Metric, RowMetric
from training.fit.recipe import Recipe
from training.objectives import imbalance
from training.objectives.base import LossFunction
from training.objectives.named import NamedObjective

_NONE = 255
"""In the first place of a row that has no target."""


class MultilabelObjective(NamedObjective):
    """Targets are uint8, shape (rows, labels): 1 where the record has the label; behind the
    labels that the model knows, those that no training row has.

    The target is one column of lists, or of text with a separator between labels, or several
    columns of yes and no, named with a comma between them.
    """

    metrics: ClassVar = ("map", "macro_f1", "micro_f1", "auroc", "subset_accuracy")

    def __init__(self, target: str) -> None:
        super().__init__(target)
        names = comma_list(target)
        self.separator = ","
        self._flags = names if len(names) > 1 else []
        for name in self._flags:
            self.number(name)

    @property
    def target_columns(self) -> list[str]:
        """See `Objective.target_columns`."""
        return self._flags or [self.target]

    def know(self, task: Task) -> None:
        """See `Objective.know`."""
        super().know(task)
        assert isinstance(task, Multilabel)
        self.separator = task.separator

    def read(self, table: pa.Table) -> np.ndarray:
        """See `Objective.read`."""
        if self._flags:
            return self._read_flags(table)
        sets = read_label_sets(table[self.target], self.target, self.separator)
        numbers = [None if labels is None else [*map(self.number, labels)] for labels in sets]
        targets = np.zeros((len(sets), max(1, len(self.names))), np.uint8)
        for row, given in enumerate(numbers):
            if given is None:
                targets[row, 0] = _NONE
            else:
                targets[row, given] = 1
        return targets

    def _read_flags(self, table: pa.Table) -> np.ndarray:
        flags = np.stack([read_flags(table[name], name) for name in self._flags], axis=1)
        # A trained model does not know the columns that were 0 in all its training rows.
        targets = np.zeros(flags.shape, np.uint8)
        targets[:, [*map(self.number, self._flags)]] = flags
        targets[(flags == _NONE).any(axis=1), 0] = _NONE
        return targets

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """See `Objective.join`: earlier shards did not know the labels of later ones."""
        width = max(part.shape[1] for part in parts)
        return np.concatenate(
            [np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts]
        )

    def known(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.known`."""
        return targets[:, 0] != _NONE

    def settle(self, targets: np.ndarray, training: np.ndarray) -> np.ndarray:
        """See `Objective.settle`."""
        names = self.names
        seen = targets[training].any(axis=0)
        classes = sorted(name for name, there in zip(names, seen, strict=False) if there)
        if not classes:
            raise MmfeatError(
                f"the target {self.target!r} must give at least one label to a training row",
                got=0,
                cure="Check --target and the split column",
            )
        others = sorted(set(names) - set(classes))
        order = [*map(self.number, [*classes, *others])]
        known = self.known(targets)
        self._settle_names(Multilabel(classes, self.separator), others)
        settled = targets[:, order]
        settled[~known] = 0
        settled[~known, 0] = _NONE
        return settled

    def loss(self, recipe: Recipe) -> LossFunction:
        """See `Objective.loss`."""
        return MultilabelLoss(recipe, len(self.classes))

    def validate(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """See `Objective.validate`."""
        scores = self.task.scores(logits, 1.0)
        trained = targets[:, : len(self.classes)]
        return label_scores(trained, scores, 0.5) | {"loss": binary_nll(scores, trained)}

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """See `Objective.decide`: probabilities."""
        return self.task.scores(logits, 1.0)

    def metric(self, name: str) -> Metric:
        """See `Objective.metric`; labels are given from 0.5 on."""

        def of(truth: np.ndarray, scores: np.ndarray) -> float:
            value = label_scores(truth, scores, 0.5)[name]
            return float("nan") if value is None else value

        return RowMetric(of)

    def comparable(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.comparable`."""
        return targets[:, : len(self.classes)]

    def calibrate(self, module: Model, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """See `Objective.calibrate`; each label's threshold is the one with the best F1."""
        trained = targets[:, : len(self.classes)]
        temperature = np.float32(fit_binary_temperature(logits, trained))
        module.temperature.fill_(float(temperature))
        before, after = self.task.scores(logits, 1.0), self.task.scores(logits, float(temperature))
        thresholds = fit_thresholds(after, trained)
        module.thresholds.copy_(torch.from_numpy(thresholds))
        return {
            "value": float(temperature),
            "nll_before": binary_nll(before, trained),
            "nll_after": binary_nll(after, trained),
            "ece_before": binary_ece(before, trained),
            "ece_after": binary_ece(after, trained),
            "macro_f1_before": label_scores(trained, before, 0.5)["macro_f1"],
            "macro_f1_after": label_scores(trained, after, thresholds)["macro_f1"],
            "thresholds": dict(zip(self.classes, thresholds.tolist(), strict=True)),
        }

    def measure(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        thresholds: np.ndarray,
        present: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """See `Objective.measure`; labels that no training row had are counted, and no more."""
        known = len(self.classes)
        unseen = targets[:, known:].sum(axis=0)
        return measure_labels(targets[:, :known], scores, thresholds, present, self.classes) | {
            "unseen_labels": {
                name: int(count)
                for name, count in zip(self.names[known:], unseen, strict=False)
                if count
            }
        }

    def row_losses(self, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """See `Objective.row_losses`: the mean over the labels."""
        return binary_nll(scores, targets[:, : len(self.classes)], axis=1)

    def as_column(self, targets: np.ndarray) -> pa.Array:
        """See `Objective.as_column`; a row's labels are sorted."""
        names = self.names
        return pa.array(
            [
                sorted(names[number] for number in np.flatnonzero(row)) if known else None
                for row, known in zip(targets, self.known(targets), strict=True)
            ],
            pa.list_(pa.string()),
        )

    def as_numbers(self, targets: Tensor) -> Tensor:
        """See `Objective.as_numbers`: 1 for a label that is there, -1 for others."""
        return targets[:, : len(self.classes)] * 2.0 - 1.0

    def counts(self, targets: np.ndarray) -> np.ndarray | None:
        """See `Objective.counts`."""
        return targets[:, : len(self.classes)].sum(axis=0)


class MultilabelLoss:
    """Binary cross-entropy of each label, weighed as the recipe says against rare ones."""

    def __init__(self, recipe: Recipe, labels: int) -> None:
        self._labels = labels
        self._weights: Tensor | None = None
        self._focus = 0.0
        prior = torch.tensor(recipe.prior)
        match recipe.imbalance:
            case imbalance.POS_WEIGHT:
                self._weights = ((1 - prior) / prior).clamp(1, imbalance.HEAVIEST)
            case imbalance.FOCAL:
                self._focus = imbalance.FOCUS

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        wanted = targets[:, : self._labels].to(logits.dtype)
        binary = nn.functional.binary_cross_entropy_with_logits
        if self._focus:
            losses = binary(logits, wanted, reduction="none")
            return ((1 - (-losses).exp()) ** self._focus * losses).mean()
        return binary(logits, wanted, pos_weight=self._weights)
