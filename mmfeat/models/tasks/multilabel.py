"""Any number of labels, each by itself."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mmfeat.models.tasks.base import Task, floats


@dataclass(frozen=True)
class Multilabel(Task):
    """The labels whose probability, by sigmoid, reaches their threshold."""

    name: ClassVar[str] = "multilabel"

    classes: list[str]
    separator: str = ","
    """What stands between labels in a text."""

    @property
    def outputs(self) -> int:
        """One logit a label."""
        return len(self.classes)

    def scores(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """See `Task.scores`: sigmoid(logits / temperature)."""
        return sigmoid(logits / np.float32(temperature))

    def columns(
        self, scores: np.ndarray, thresholds: np.ndarray, scorable: np.ndarray
    ) -> dict[str, pa.Array]:
        """See `Task.columns`: `prediction`, a list of labels, and `p_<label>` of each."""
        with np.errstate(invalid="ignore"):
            given = scores >= thresholds
        labels = [
            [self.classes[index] for index in np.flatnonzero(row)] if good else None
            for row, good in zip(given, scorable, strict=True)
        ]
        return {
            "prediction": pa.array(labels, pa.list_(pa.string())),
            **{f"p_{c}": floats(scores[:, i], scorable) for i, c in enumerate(self.classes)},
        }


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logits)), in float64 and back to the logits' type."""
    return (0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))).astype(logits.dtype)
