"""A number."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mmfeat.models.tasks.base import Task, floats


@dataclass(frozen=True)
class Regression(Task):
    """mean + deviation · output: the model learns the target at mean 0 and deviation 1."""

    name: ClassVar[str] = "regression"

    mean: float
    """Of the training rows' targets."""
    deviation: float
    """Their standard deviation."""

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def scores(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """See `Task.scores`: in the target's own unit; there is nothing to calibrate."""
        return (self.mean + self.deviation * logits.astype(np.float64)).astype(np.float32)

    def columns(
        self, scores: np.ndarray, thresholds: np.ndarray, scorable: np.ndarray
    ) -> dict[str, pa.Array]:
        """See `Task.columns`: `prediction`."""
        return {"prediction": floats(scores[:, 0], scorable)}
