"""The interface of a task: from logits to scores and prediction columns."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from msgspec import Meta

ClassNames = Annotated[list[str], Meta(min_length=1)]
"""Names of the classes or labels, in the order of the logits."""

Finite = Annotated[float, Meta(gt=-1e300, lt=1e300)]
"""A finite number."""


@dataclass(frozen=True)
class Task(ABC):
    """Base of all tasks. The fields are stored in config.json."""

    name: ClassVar[str]
    min_modalities: ClassVar[int] = 1
    """Minimum number of modalities that a scorable record has."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Length of the logits."""

    @abstractmethod
    def to_scores(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """Convert logits to probabilities, or to values in the target's unit.

        Args:
            logits: float32, shape (rows, outputs).
            temperature: divides calibrated logits.

        Returns:
            float32, shape (rows, outputs).
        """

    @abstractmethod
    def to_columns(
        self, scores: np.ndarray, thresholds: np.ndarray, scorable: np.ndarray
    ) -> dict[str, pa.Array]:
        """Return the columns of the predictions table, null if not scorable.

        Args:
            scores: shape (rows, outputs), from `to_scores`.
            thresholds: float32, shape (outputs,); a label is predicted if its probability reaches
                its threshold.
            scorable: bool, shape (rows,).
        """

    @property
    def config(self) -> dict[str, Any]:
        """Entries of config.json."""
        return {"task": self.name, **asdict(self)}


def float_column(values: np.ndarray, valid: np.ndarray) -> pa.Array:
    """Return a float32 column, null if not valid."""
    return pa.array(values, pa.float32(), mask=~valid)
