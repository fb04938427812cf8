"""Multiclass classification: exactly one class."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mmfeat.models.tasks.base import ClassNames, Task, class_columns, float_column


@dataclass(frozen=True)
class Multiclass(Task):
    """Predict the class with the largest logit; probabilities by softmax."""

    name: ClassVar[str] = "multiclass"

    classes: ClassNames

    @property
    def outputs(self) -> int:
        """One logit per class."""
        return len(self.classes)

    def to_scores(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """See `Task.to_scores`: softmax(logits / temperature)."""
        return softmax(logits / np.float32(temperature))

    def to_columns(
        self,
        scores: np.ndarray,
        thresholds: np.ndarray,
        scorable: np.ndarray,
        top: int | None = None,
    ) -> dict[str, pa.Array]:
        """Return `prediction`, `probability`, and the columns of `class_columns`."""
        best = pa.array(scores.argmax(axis=1), pa.int64(), mask=~scorable)
        return {
            "prediction": pa.array(self.classes, pa.string()).take(best),
            "probability": float_column(scores.max(axis=1), scorable),
            **class_columns(self.classes, scores, scorable, top),
        }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Compute the softmax over the last axis in float64; returns the type of the logits."""
    values = logits.astype(np.float64)
    values -= values.max(axis=-1, keepdims=True)
    np.exp(values, out=values)
    values /= values.sum(axis=-1, keepdims=True)
    return values.astype(logits.dtype, copy=False)
