"""What a task is: from a model's logits to what a person asked for."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Task(ABC):
    """Base of all tasks; its fields are what config.json holds of it."""

    name: ClassVar[str]
    least: ClassVar[int] = 1
    """Fewest modalities of a record that can be judged."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Length of the logits."""

    @abstractmethod
    def scores(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """Logits as probabilities, or as values in the target's own unit.

        Args:
            logits: float32, shape (rows, outputs).
            temperature: what calibrated logits are divided by.

        Returns:
            float32, shape (rows, outputs).
        """

    @abstractmethod
    def columns(
        self, scores: np.ndarray, thresholds: np.ndarray, scorable: np.ndarray
    ) -> dict[str, pa.Array]:
        """The predictions table's columns: `prediction` first, null where not scorable.

        Args:
            scores: as `scores` gives them.
            thresholds: float32, shape (outputs,); the probability from which on a label is given.
            scorable: bool, shape (rows,).
        """

    @property
    def facts(self) -> dict[str, Any]:
        """What config.json holds of it."""
        return {"task": self.name, **asdict(self)}


def floats(values: np.ndarray, valid: np.ndarray) -> pa.Array:
    """float32 numbers, null where not valid."""
    return pa.array(values, pa.float32(), mask=~valid)
