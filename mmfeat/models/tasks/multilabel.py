"""Multilabel classification: any number of independent labels."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mmfeat.models.tasks.base import ClassNames, Task, class_columns


@dataclass(frozen=True)
class Multilabel(Task):
    """Predict the labels whose probability, by sigmoid, reaches their threshold."""

    name: ClassVar[str] = "multilabel"

    classes: ClassNames
    separator: str = ","
    """Separates the labels in a text."""

    @property
    def outputs(self) -> int:
        """One logit per label."""
        return len(self.classes)

    def to_scores(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """See `Task.to_scores`: sigmoid(logits / temperature)."""
        return sigmoid(logits / np.float32(temperature))

    def to_columns(
        self,
        scores: np.ndarray,
        thresholds: np.ndarray,
        scorable: np.ndarray,
        top: int | None = None,
    ) -> dict[str, pa.Array]:
        """Return `prediction`, a list of labels, and the columns of `class_columns`."""
        with np.errstate(invalid="ignore"):
            predicted = scores >= thresholds
        labels = [
            [self.classes[index] for index in np.flatnonzero(row)] if is_scorable else None
            for row, is_scorable in zip(predicted, scorable, strict=True)
        ]
        return {
            "prediction": pa.array(labels, pa.list_(pa.string())),
            **class_columns(self.classes, scores, scorable, top),
        }


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Compute 1 / (1 + exp(-logits)) in float64; returns the type of the logits."""
    return (0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))).astype(logits.dtype)
