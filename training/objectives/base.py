"""What an objective is: a task as training sees it, from a metadata column to a verdict."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from torch import Tensor

from mmfeat.models.base import Model
from mmfeat.models.tasks import Task
from training.evaluation.statistics import METRICS, Metric
from training.fit.recipe import Recipe

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""From logits, shape [batch, outputs], and targets, as `settle` gives them, to a scalar."""


class Objective(ABC):
    """Base of all objectives.

    Args:
        target: what --target names: a column of the samples table.

    Attributes:
        task: what the outputs mean; there once `settle` or `know` was called.
    """

    task: Task

    metrics: ClassVar[tuple[str, ...]]
    """What a model can be chosen by; the first is the default."""
    falling: ClassVar[frozenset[str]] = frozenset()
    """Those of the metrics of which less is better."""

    def __init__(self, target: str) -> None:
        self.target = target

    def know(self, task: Task) -> None:
        """Judge by a trained model's task in place of settling one."""
        self.task = task

    @property
    def least(self) -> int:
        """Fewest modalities of a row that can be learned from."""
        return 1

    @property
    def target_columns(self) -> list[str]:
        """The columns of the samples table it reads."""
        return [self.target]

    @abstractmethod
    def read(self, table: pa.Table) -> np.ndarray:
        """The targets of a shard as numbers, to be joined and settled; first axis: rows.

        Raises:
            MmfeatError: the column holds something else.
        """

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """The targets of several shards, one after another."""
        return np.concatenate(parts)

    @abstractmethod
    def known(self, targets: np.ndarray) -> np.ndarray:
        """Which rows have a target, shape (rows,); before `settle` and after it."""

    @abstractmethod
    def settle(self, targets: np.ndarray, training: np.ndarray) -> np.ndarray:
        """Fix the task by the training rows; returns the targets of all rows in its numbers.

        Args:
            targets: of all rows, as `join` gives them.
            training: int64, indices of the training rows; all have a target.

        Raises:
            MmfeatError: there is nothing to learn.
        """

    @abstractmethod
    def loss(self, recipe: Recipe) -> LossFunction:
        """The loss that training lowers."""

    @abstractmethod
    def validate(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """The metrics, and `loss`, the mean loss of a row without regard to imbalance."""

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """What `metric` compares with the targets, first axis: rows."""
        return logits

    def metric(self, name: str) -> Metric:
        """One of the metrics, as a comparison of models takes it: of targets and decisions.

        The targets are cut to what the model knows by `comparable`.
        """
        return METRICS[name]

    def comparable(self, targets: np.ndarray) -> np.ndarray:
        """The targets as `metric` takes them."""
        return targets

    @abstractmethod
    def calibrate(self, module: Model, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """Fit the module's temperature and thresholds on validation; what they did, for JSON."""

    @abstractmethod
    def measure(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        thresholds: np.ndarray,
        present: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """All that `mmfeat evaluate` reports of some rows, ready for JSON.

        Args:
            targets: as `settle` gives them.
            scores: as the task gives them, shape (rows, outputs).
            thresholds: of the model, shape (outputs,).
            present: column → bool, shape (rows,).
        """

    @abstractmethod
    def row_losses(self, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """How wrong each row's prediction is, shape (rows,); infinite for an unseen label."""

    @abstractmethod
    def as_column(self, targets: np.ndarray) -> pa.Array:
        """The targets as a table shows them."""

    @abstractmethod
    def as_numbers(self, targets: Tensor) -> Tensor:
        """Targets of known labels as least squares take them, float32, shape [batch, outputs]."""

    def counts(self, targets: np.ndarray) -> np.ndarray | None:
        """Rows of each class, or with each label; None where there are no classes."""
        return None

    def better(self, metric: str, value: float) -> float:
        """The metric as a number of which more is better."""
        return -value if metric in self.falling else value
