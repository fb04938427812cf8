"""The interface of a task: from logits to scores and prediction columns."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from msgspec import Meta

ClassNames = Annotated[list[str], Meta(min_length=1)]
"""Names of the classes or labels, in the order of the logits."""

Finite = Annotated[float, Meta(gt=-1e300, lt=1e300)]
"""A finite number."""


MAX_CLASS_COLUMNS = 100
"""With more classes, predictions have the most likely classes as lists, unless asked otherwise."""
TOP_CLASSES = 10


@dataclass(frozen=True)
class Task(ABC):
    """Base of all tasks. The fields are stored in config.json."""

    name: ClassVar[str]
    min_modalities: ClassVar[int] = 1
    """Minimum number of modalities that a scorable record has."""

    null_labels: list[str] = field(default_factory=list, kw_only=True)
    """Texts of the target column that mean "no target"."""

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
        self,
        scores: np.ndarray,
        thresholds: np.ndarray,
        scorable: np.ndarray,
        top: int | None = None,
    ) -> dict[str, pa.Array]:
        """Return the columns of the predictions table, null if not scorable.

        Args:
            scores: shape (rows, outputs), from `to_scores`.
            thresholds: float32, shape (outputs,); a label is predicted if its probability reaches
                its threshold.
            scorable: bool, shape (rows,).
            top: number of most likely classes to write as lists; 0 = a column per class; None =
                by the number of classes (`top_classes`).
        """

    @property
    def config(self) -> dict[str, Any]:
        """Entries of config.json."""
        fields = asdict(self)
        if not self.null_labels:
            del fields["null_labels"]  # so that the hash of older models stays the same
        return {"task": self.name, **fields}


def top_classes(classes: int, asked: int | None) -> int:
    """Return how many most likely classes predictions have as lists; 0 = a column per class.

    Args:
        classes: number of classes.
        asked: the number that the user asks for; None = 0 up to `MAX_CLASS_COLUMNS` classes.
    """
    if asked is None:
        return 0 if classes <= MAX_CLASS_COLUMNS else TOP_CLASSES
    return min(asked, classes)


def class_columns(
    classes: Sequence[str], scores: np.ndarray, scorable: np.ndarray, top: int | None
) -> dict[str, pa.Array]:
    """Return `p_<class>` for each class, or `top_classes` and `top_probabilities`, best first.

    Args:
        classes: names of the classes.
        scores: probabilities, shape (rows, classes).
        scorable: bool, shape (rows,).
        top: see `Task.to_columns`.
    """
    count = top_classes(len(classes), top)
    if not count:
        return {f"p_{c}": float_column(scores[:, i], scorable) for i, c in enumerate(classes)}
    best = np.argsort(-scores[scorable], axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(scores[scorable], best, axis=1)
    names = pa.array(classes, pa.string()).take(pa.array(best.ravel()))
    return {
        "top_classes": _list_column(names, scorable, count),
        "top_probabilities": _list_column(pa.array(values.ravel(), pa.float32()), scorable, count),
    }


def _list_column(values: pa.Array, valid: np.ndarray, length: int) -> pa.Array:
    """Return lists of one length, null if not valid."""
    starts = np.r_[0, np.cumsum(valid) * length]
    offsets = pa.array(starts, pa.int32(), mask=np.r_[~valid, False])
    return pa.ListArray.from_arrays(offsets, values)


def float_column(values: np.ndarray, valid: np.ndarray) -> pa.Array:
    """Return a float32 column, null if not valid."""
    return pa.array(values, pa.float32(), mask=~valid)
