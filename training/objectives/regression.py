"""The regression objective: a number, Huber loss of the standardized target."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from mmfeat.errors import MmfeatError
from mmfeat.models.base import Model
from mmfeat.models.tasks import Regression
from training.metrics import evaluate_regression, regression_metrics
from training.objectives.base import LossFunction, Objective
from training.objectives.targets import read_numbers
from training.recipe import Recipe


class RegressionObjective(Objective):
    """Targets are float64 in their own unit; NaN if there is no target."""

    metrics: ClassVar = ("mae", "rmse", "pearson", "r2")
    minimized: ClassVar = frozenset({"mae", "rmse"})

    def read_targets(self, table: pa.Table) -> np.ndarray:
        """See `Objective.read_targets`."""
        return read_numbers(table, self.target, self.null_labels)

    def has_target(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.has_target`."""
        return ~np.isnan(targets)

    def fit_targets(self, targets: np.ndarray, training: np.ndarray) -> np.ndarray:
        """See `Objective.fit_targets`."""
        values = targets[training]
        deviation = float(values.std())
        if not deviation > 0:
            raise MmfeatError(
                f"the target {self.target!r} must differ among the training rows",
                got=f"{values[0]:g} in each of {len(values):,}",
            )
        self.task = Regression(float(values.mean()), deviation, null_labels=self.null_labels)
        return targets

    def build_loss(self, recipe: Recipe) -> LossFunction:
        """See `Objective.build_loss`."""

        def loss(logits: Tensor, targets: Tensor) -> Tensor:
            standardized = self.least_squares_targets(targets).to(logits.dtype)
            return nn.functional.smooth_l1_loss(logits, standardized)

        return loss

    def validate(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """See `Objective.validate`; the loss is the squared error of the standardized target."""
        assert isinstance(self.task, Regression)
        metrics = regression_metrics(targets, self.predict(logits))
        return {**metrics, "loss": (metrics["rmse"] / self.task.deviation) ** 2}

    def predict(self, logits: np.ndarray) -> np.ndarray:
        """See `Objective.predict`: values in the target's unit."""
        return self.task.to_scores(logits, 1.0)[:, 0]

    def calibrate(self, module: Model, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """See `Objective.calibrate`: numbers need no calibration."""
        return {}

    def evaluate(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        thresholds: np.ndarray,
        present: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """See `Objective.evaluate`."""
        return evaluate_regression(targets, scores[:, 0], present)

    def row_losses(self, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """See `Objective.row_losses`: the absolute error."""
        return np.abs(targets - scores[:, 0])

    def to_arrow(self, targets: np.ndarray) -> pa.Array:
        """See `Objective.to_arrow`."""
        return pa.array(targets, pa.float64(), from_pandas=True)

    def least_squares_targets(self, targets: Tensor) -> Tensor:
        """See `Objective.least_squares_targets`: the standardized target."""
        assert isinstance(self.task, Regression)
        return ((targets - self.task.mean) / self.task.deviation).float().unsqueeze(1)
