"""Regression: one number."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mmfeat.models.tasks.base import Finite, Task, float_column


@dataclass(frozen=True)
class Regression(Task):
    """Predict mean + deviation · output: the model learns the standardized target."""

    name: ClassVar[str] = "regression"

    mean: Finite
    """Mean of the targets of the training rows."""
    deviation: Finite
    """Standard deviation of the targets of the training rows."""

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def to_scores(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """See `Task.to_scores`: values in the target's unit; the temperature is not used."""
        return (self.mean + self.deviation * logits.astype(np.float64)).astype(np.float32)

    def to_columns(
        self,
        scores: np.ndarray,
        thresholds: np.ndarray,
        scorable: np.ndarray,
        top: int | None = None,
    ) -> dict[str, pa.Array]:
        """Return `prediction`."""
        return {"prediction": float_column(scores[:, 0], scorable)}
