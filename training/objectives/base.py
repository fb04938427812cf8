"""The interface of an objective: a task as training sees it, from target column to metrics."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from torch import Tensor

from mmfeat.models.architecture import DecoderLayers
from mmfeat.models.base import Model
from mmfeat.models.tasks import Task
from training.metrics import METRICS, Metric
from training.objectives.unseen_labels import UnseenLabels
from training.recipe import LEARNING_RATES, Recipe

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(logits of shape [batch, outputs], targets from `fit_targets`) → scalar loss."""


class Objective(ABC):
    """Base of all objectives.

    `read_targets` reads raw targets shard by shard. `fit_targets` then derives the task from the
    training rows, for example the list of classes, and encodes the targets of all rows.

    Args:
        target: the value of --target, a column of the samples table.

    Attributes:
        task: the task; set by `fit_targets` or `bind_task`.
        null_labels: texts of the target column that mean "no target".
    """

    task: Task

    metrics: ClassVar[tuple[str, ...]]
    """Metrics for model selection; the first is the default."""
    minimized: ClassVar[frozenset[str]] = frozenset()
    """The metrics for which lower is better."""

    learning_rates: ClassVar[tuple[float, ...]] = LEARNING_RATES
    """Learning rates to try if --lr is not given."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.null_labels: list[str] = []

    def bind_task(self, task: Task) -> None:
        """Use the task of a trained model instead of deriving one."""
        self.task = task
        self.null_labels = task.null_labels

    @property
    def min_modalities(self) -> int:
        """Minimum number of modalities of a usable row."""
        return 1

    @property
    def settings(self) -> dict[str, Any]:
        """Entries of config.json that neither the task nor the recipe has."""
        return {}

    @property
    def decoder_layers(self) -> DecoderLayers | None:
        """The layers that generate text; None if the task has none."""
        return None

    def initialize_model(self, model: Model) -> Model:
        """Return a new model with the weights that it does not learn, if it has any."""
        return model

    @property
    def target_columns(self) -> list[str]:
        """The columns of the samples table that hold the target."""
        return [self.target]

    @abstractmethod
    def read_targets(self, table: pa.Table) -> np.ndarray:
        """Read the raw targets of one shard; first axis: rows.

        Raises:
            MmfeatError: the task cannot learn the values of the column.
        """

    def read_shard_targets(self, table: pa.Table, shard: str) -> np.ndarray:
        """Read the raw targets of one shard, from its table or from elsewhere."""
        return self.read_targets(table)

    def concatenate_targets(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Concatenate the raw targets of several shards."""
        return np.concatenate(parts)

    @abstractmethod
    def has_target(self, targets: np.ndarray) -> np.ndarray:
        """Return which rows have a target, shape (rows,); raw or encoded targets."""

    @abstractmethod
    def fit_targets(self, targets: np.ndarray, training: np.ndarray) -> np.ndarray:
        """Derive the task from the training rows and return the encoded targets of all rows.

        Args:
            targets: raw targets of all rows.
            training: int64, indices of the training rows; all have a target.

        Raises:
            MmfeatError: there is nothing to learn.
        """

    @abstractmethod
    def build_loss(self, recipe: Recipe) -> LossFunction:
        """Return the loss that training minimizes."""

    @abstractmethod
    def validate(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """Return the metrics, and `loss`, the mean loss of a row, not weighted for imbalance."""

    def predict(self, logits: np.ndarray) -> np.ndarray:
        """Return the predictions that `comparison_metric` takes; first axis: rows."""
        return logits

    def comparison_metric(self, name: str) -> Metric:
        """Return a metric of `comparison_targets` and predictions, for the bootstrap."""
        return METRICS[name]

    def comparison_targets(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets that `comparison_metric` takes."""
        return targets

    @abstractmethod
    def calibrate(self, module: Model, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """Fit the module's temperature and thresholds on validation; return figures for JSON."""

    @abstractmethod
    def evaluate(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        thresholds: np.ndarray,
        present: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """Return all metrics of `mmfeat evaluate`, for JSON.

        Args:
            targets: encoded targets.
            scores: scores of the task, shape (rows, outputs).
            thresholds: of the model, shape (outputs,).
            present: column → bool, shape (rows,).
        """

    @abstractmethod
    def row_losses(self, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return the loss of each row, shape (rows,); infinite for a label unseen in training."""

    @abstractmethod
    def to_arrow(self, targets: np.ndarray) -> pa.Array:
        """Return the targets as a column of a table."""

    @abstractmethod
    def least_squares_targets(self, targets: Tensor) -> Tensor:
        """Return the targets of least squares, float32, shape [batch, outputs]."""

    def complete_outputs(
        self,
        module: Model,
        features: Mapping[str, np.ndarray],
        present: Mapping[str, np.ndarray],
        targets: np.ndarray,
        outputs: np.ndarray,
    ) -> np.ndarray:
        """Return a model's outputs, shape (rows, outputs), with what depends on the targets.

        Args:
            module, features, present: see `mmfeat.models.inference.run_model`.
            targets: encoded targets of the same rows.
            outputs: the outputs; they may be changed in place.
        """
        return outputs

    def has_known_label(self, targets: np.ndarray) -> np.ndarray:
        """Return which encoded targets a loss can be computed of, shape (rows,)."""
        return self.has_target(targets)

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Return a number for each row; folds have rows of each number equally often."""
        return np.zeros(len(targets), np.int64)

    def class_counts(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the number of rows of each class or label; None if there are no classes."""
        return None

    def label_counts(self, targets: np.ndarray) -> dict[str, int]:
        """Return label → number of rows, for labels of these rows; empty without labels."""
        return {}

    def unseen_labels(self, targets: np.ndarray) -> UnseenLabels | None:
        """Return the labels that no training row has; None if the task has no labels."""
        return None

    def maximized(self, metric: str, value: float) -> float:
        """Return the value of a metric, negated if lower is better."""
        return -value if metric in self.minimized else value
