"""Run the models of a process on the columns of a shard, in several threads."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmfeat.features import ColumnShard
from mmfeat.scoring.predicting.explanation import leave_one_out
from mmfeat.scoring.predicting.fused_vectors import FusedVectors

if TYPE_CHECKING:
    from mmfeat.models.inference import Predictions
    from mmfeat.models.saved_model import LoadedModel

PART_ROWS = 2048
"""Rows that a thread scores at a time; more rows would only need more memory."""


class ModelOutput(NamedTuple):
    """The output of one model for the rows of a shard.

    Attributes:
        predictions: scores and weights.
        embedding: fused vectors, float32, shape (rows, dim); None unless asked for.
        changes: see `leave_one_out`; None unless asked for.
    """

    predictions: "Predictions"
    embedding: np.ndarray | None
    changes: np.ndarray | None

    def spread(self, rows: np.ndarray, total: int) -> "ModelOutput":
        """Return the output of more rows, of which the additional ones are not scorable."""
        return ModelOutput(
            self.predictions.spread(rows, total),
            _spread(self.embedding, rows, total),
            _spread(self.changes, rows, total),
        )


def _spread(values: np.ndarray | None, rows: np.ndarray, total: int) -> np.ndarray | None:
    if values is None or len(rows) == total:
        return values
    spread = np.full((total, values.shape[1]), np.nan, values.dtype)
    spread[rows] = values
    return spread


class ModelRunner:
    """Runs models. Each thread computes on one core, so scores do not depend on their number.

    Args:
        models: the models.
        threads: number of threads.
        embedding: whether to return the fused vectors.
        explain: whether to leave each modality out.
    """

    def __init__(
        self,
        models: Sequence["LoadedModel"],
        threads: int,
        *,
        embedding: bool = False,
        explain: bool = False,
    ) -> None:
        self._vectors = {model.path: FusedVectors(model) for model in models if embedding}
        self._explain = explain
        self._pool = ThreadPoolExecutor(threads, initializer=_use_one_core)

    def run(
        self, model: "LoadedModel", columns: Mapping[str, ColumnShard], rows: np.ndarray
    ) -> ModelOutput:
        """Run a model on rows of a shard.

        Args:
            model: the model.
            columns: the columns of the shard.
            rows: int64, shape (n,).
        """
        starts = range(0, max(1, len(rows)), PART_ROWS)

        def score(start: int) -> ModelOutput:
            return self._run_part(model, columns, rows[start : start + PART_ROWS])

        return _concatenate(list(self._pool.map(score, starts)))

    def _run_part(
        self, model: "LoadedModel", columns: Mapping[str, ColumnShard], rows: np.ndarray
    ) -> ModelOutput:
        from mmfeat.models.inference import run_model, to_predictions

        taken = {c.name: columns[c.name].take(rows, c.max_tokens) for c in model.columns}
        features = {name: values for name, (values, _) in taken.items()}
        present = {name: mask for name, (_, mask) in taken.items()}
        embedding: np.ndarray | None = None
        if vectors := self._vectors.get(model.path):
            with vectors.recorded():
                output = run_model(model.module, features, present)
                empty = np.zeros((0, vectors.dim), np.float32)
                embedding = vectors.take(len(rows)) if len(rows) else empty
        else:
            output = run_model(model.module, features, present)
        changes = leave_one_out(model, features, present, output) if self._explain else None
        return ModelOutput(to_predictions(model.module, model.task, output), embedding, changes)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def usable_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _use_one_core() -> None:
    import torch

    torch.set_num_threads(1)


def _concatenate(parts: Sequence[ModelOutput]) -> ModelOutput:
    from mmfeat.models.inference import concatenate_predictions

    if len(parts) == 1:
        return parts[0]

    def join(values: Sequence[Any]) -> np.ndarray | None:
        return None if values[0] is None else np.concatenate(values)

    return ModelOutput(
        concatenate_predictions([part.predictions for part in parts]),
        join([part.embedding for part in parts]),
        join([part.changes for part in parts]),
    )
