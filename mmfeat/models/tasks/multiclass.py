"""One class out of several."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mmfeat.models.tasks.base import Task, floats


@dataclass(frozen=True)
class Multiclass(Task):
    """The class with the largest logit; probabilities by softmax."""

    name: ClassVar[str] = "multiclass"

    classes: list[str]

    @property
    def outputs(self) -> int:
        """One logit a class."""
        return len(self.classes)

    def scores(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """See `Task.scores`: softmax(logits / temperature)."""
        return softmax(logits / np.float32(temperature))

    def columns(
        self, scores: np.ndarray, thresholds: np.ndarray, scorable: np.ndarray
    ) -> dict[str, pa.Array]:
        """See `Task.columns`: `prediction`, `probability`, and `p_<class>` of each class."""
        best = np.where(scorable, scores.argmax(axis=1), -1)
        labels = [self.classes[index] if index >= 0 else None for index in best]
        return {
            "prediction": pa.array(labels, pa.string()),
            "probability": floats(scores.max(axis=1), scorable),
            **{f"p_{c}": floats(scores[:, i], scorable) for i, c in enumerate(self.classes)},
        }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64 and back to the logits' type."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    exponents = np.exp(shifted)
    return (exponents / exponents.sum(axis=-1, keepdims=True)).astype(logits.dtype)
