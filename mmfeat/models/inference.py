"""Run a model on many rows in batches of fixed size."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch

from mmfeat.models.base import BATCH_ROWS, Model
from mmfeat.models.tasks import Task

CHUNK_ROWS = 16 * BATCH_ROWS
"""Rows whose features are in memory at a time."""


class InferenceOutput(NamedTuple):
    """The raw output of a model.

    Attributes:
        logits: float32, shape (rows, outputs), before the temperature.
        weights: float32, shape (rows, modalities), or None if the model has no weights.
        present: bool, shape (rows, modalities).
    """

    logits: np.ndarray
    weights: np.ndarray | None
    present: np.ndarray

    def select(self, rows: slice) -> "InferenceOutput":
        """Return the output of some rows."""
        weights = None if self.weights is None else self.weights[rows]
        return InferenceOutput(self.logits[rows], weights, self.present[rows])


class Predictions(NamedTuple):
    """The predictions of a model; NaN for rows that are not scorable.

    Attributes:
        scores: float32, shape (rows, outputs); calibrated probabilities, or values in the
            target's unit, depending on the task.
        weights: float32, shape (rows, modalities), 0 for an absent modality; None if the model
            has no weights.
        scorable: bool, shape (rows,); False if the record has fewer of the model's modalities
            than the task needs, or if a score is not finite.
    """

    scores: np.ndarray
    weights: np.ndarray | None
    scorable: np.ndarray

    def spread(self, rows: np.ndarray, total: int) -> "Predictions":
        """Return predictions of more rows, of which the additional ones are not scorable.

        Args:
            rows: int64, shape (n,): the rows of these predictions.
            total: number of rows of the result.
        """
        if len(rows) == total:
            return self
        scores = np.full((total, *self.scores.shape[1:]), np.nan, self.scores.dtype)
        scores[rows] = self.scores
        weights = None
        if self.weights is not None:
            weights = np.full((total, self.weights.shape[1]), np.nan, self.weights.dtype)
            weights[rows] = self.weights
        scorable = np.zeros(total, bool)
        scorable[rows] = self.scorable
        return Predictions(scores, weights, scorable)

    def weight_columns(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Return `w_<column>` for each modality: float32, null if not scorable or no weights.

        Args:
            names: feature columns, in the model's order.
        """
        rows = len(self.scorable)
        return {
            f"w_{name}": pa.nulls(rows, pa.float32())
            if self.weights is None
            else pa.array(self.weights[:, number], pa.float32(), mask=~self.scorable)
            for number, name in enumerate(names)
        }


def run_model(
    module: Model,
    features: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
) -> InferenceOutput:
    """Compute logits and weights of all rows in eval mode.

    Args:
        module: the model; it returns to its previous mode.
        features: column → float16 or float32, shape (rows, dim), or (rows, tokens, dim).
        present: column → bool, shape (rows,), or (rows, tokens).
    """
    rows, size = len(present[module.columns[0]]), module.batch_rows
    logits = np.empty((rows, module.architecture.outputs), np.float32)
    weights: np.ndarray | None = None
    was_training = module.training
    module.eval()
    with torch.inference_mode():
        for start in range(0, rows, size):
            batch = slice(start, min(start + size, rows))
            count = batch.stop - batch.start
            batch_logits, batch_weights = module(
                {c: pad_batch(features[c][batch], torch.float32, size) for c in module.columns},
                {c: pad_batch(present[c][batch], torch.bool, size) for c in module.columns},
            )
            logits[batch] = batch_logits[:count].numpy()
            if batch_weights is not None:
                if weights is None:
                    weights = np.empty((rows, len(module.columns)), np.float32)
                weights[batch] = batch_weights[:count].numpy()
    module.train(was_training)
    modalities = np.stack([has_any_token(present[column]) for column in module.columns], axis=1)
    return InferenceOutput(logits, weights, modalities)


def to_predictions(module: Model, task: Task, output: InferenceOutput) -> Predictions:
    """Turn the raw output of a model into predictions, with the model's temperature."""
    scores = task.to_scores(output.logits, float(module.temperature))
    scorable = output.present.sum(axis=1) >= task.min_modalities
    scorable &= np.isfinite(scores).all(axis=1)
    scores[~scorable] = np.nan
    weights = output.weights
    if weights is not None:
        weights = np.where(scorable[:, None], weights, np.float32(np.nan))
    return Predictions(scores, weights, scorable)


def predict(
    module: Model,
    task: Task,
    features: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
) -> Predictions:
    """Predict all rows; arguments as for `run_model`."""
    return to_predictions(module, task, run_model(module, features, present))


def concatenate_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Concatenate predictions of consecutive rows."""
    weights = [part.weights for part in parts if part.weights is not None]
    return Predictions(
        np.concatenate([part.scores for part in parts]),
        np.concatenate(weights) if weights else None,
        np.concatenate([part.scorable for part in parts]),
    )


def has_any_token(present: np.ndarray) -> np.ndarray:
    """Return which rows have a column, shape (rows,); a token column needs one token."""
    return present if present.ndim == 1 else np.logical_or.reduce(present, axis=1)


def pad_batch(values: np.ndarray, dtype: torch.dtype, rows: int) -> torch.Tensor:
    """Return a number of rows: the values, then zeros."""
    padded = torch.zeros((rows, *values.shape[1:]), dtype=dtype)
    padded[: len(values)] = torch.from_numpy(np.array(values))
    return padded
