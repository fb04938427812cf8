"""A number: the Huber loss at mean 0 and deviation 1."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from mmfeat.errors import MmfeatError
from mmfeat.models.base import Model
from mmfeat.models.tasks import Regression
from training.data.targets import read_numbers
from training.evaluation.metrics import measure_numbers, number_scores
from training.evaluation.statistics import METRICS, Metric, RowMetric
from training.fit.recipe import Recipe
from training.objectives.base import LossFunction, Objective


class RegressionObjective(Objective):
    """Targets are float64 in their own unit; NaN for none."""

    metrics: ClassVar = ("mae", "rmse", "pearson", "r2")
    falling: ClassVar = frozenset({"mae", "rmse"})

    def read(self, table: pa.Table) -> np.ndarray:
        """See `Objective.read`."""
        return read_numbers(table[self.target], self.target)

    def known(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.known`."""
        return ~np.isnan(targets)

    def settle(self, targets: np.ndarray, training: np.ndarray) -> np.ndarray:
        """See `Objective.settle`."""
        there = targets[training]
        deviation = float(there.std())
        if not deviation > 0:
            raise MmfeatError(
                f"the target {self.target!r} must differ among the training rows",
                got=f"{there[0]:g} in each of {len(there):,}",
            )
        self.task = Regression(float(there.mean()), deviation)
        return targets

    def loss(self, recipe: Recipe) -> LossFunction:
        """See `Objective.loss`."""

        def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
            return nn.functional.smooth_l1_loss(logits, self.as_numbers(targets).to(logits.dtype))

        return loss_of

    def validate(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """See `Objective.validate`; the loss is the mean square at deviation 1."""
        task = self.task
        assert isinstance(task, Regression)
        values = number_scores(targets, task.scores(logits, 1.0)[:, 0])
        return {**values, "loss": (values["rmse"] / task.deviation) ** 2}

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """See `Objective.decide`: values in the target's unit."""
        return self.task.scores(logits, 1.0)[:, 0]

    def metric(self, name: str) -> Metric:
        """See `Objective.metric`."""
        if name in METRICS:
            return METRICS[name]
        return RowMetric(
            lambda truth, values: number_scores(truth, values)[name],
            larger_is_better=name not in self.falling,
        )

    def calibrate(self, module: Model, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """See `Objective.calibrate`: there is nothing to calibrate."""
        return {}

    def measure(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        thresholds: np.ndarray,
        present: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """See `Objective.measure`."""
        return measure_numbers(targets, scores[:, 0], present)

    def row_losses(self, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """See `Objective.row_losses`: the absolute error."""
        return np.abs(targets - scores[:, 0])

    def as_column(self, targets: np.ndarray) -> pa.Array:
        """See `Objective.as_column`."""
        return pa.array(targets, pa.float64(), from_pandas=True)

    def as_numbers(self, targets: Tensor) -> Tensor:
        """See `Objective.as_numbers`: at mean 0 and deviation 1."""
        assert isinstance(self.task, Regression)
        return ((targets - self.task.mean) / self.task.deviation).float().unsqueeze(1)
