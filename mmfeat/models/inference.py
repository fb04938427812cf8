"""Forward over many rows in bounded batches, with results that do not depend on the batches."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from mmfeat.models.base import Model
from mmfeat.models.tasks import Task

BATCH = 512
"""Rows in every forward. The last batch is filled up to it: a matrix product may round a row
differently in a batch of another size, and then the same record would score differently in
another shard."""

PART = 16 * BATCH
"""Rows whose features are in memory at a time."""


class Outputs(NamedTuple):
    """What a model says of rows.

    Attributes:
        logits: float32, shape (rows, outputs), before the temperature.
        weights: float32, shape (rows, modalities), or None where the fusion has none.
    """

    logits: np.ndarray
    weights: np.ndarray | None


class Predictions(NamedTuple):
    """What a model predicts of rows; NaN in the rows that are not scorable.

    Attributes:
        scores: float32, shape (rows, outputs); calibrated probabilities, or values in the
            target's unit, as the model's task has it.
        weights: float32, shape (rows, modalities) in the order of the model's columns, 0 for an
            absent modality; None where the fusion has no weights.
        scorable: bool, shape (rows,); false where the record has none of the model's modalities, or
            fewer than the task needs.
    """

    scores: np.ndarray
    weights: np.ndarray | None
    scorable: np.ndarray


def run(
    module: Model,
    features: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
) -> Outputs:
    """Logits and weights of all rows; the module is in eval mode while it runs.

    Args:
        features: column → float16 or float32, shape (rows, dim), or (rows, tokens, dim).
        present: column → bool, shape (rows,), or (rows, tokens).
    """
    rows = len(present[module.columns[0]])
    logits = np.empty((rows, module.architecture.outputs), np.float32)
    weights: np.ndarray | None = None
    was_training = module.training
    module.eval()
    with torch.inference_mode():
        for start in range(0, rows, BATCH):
            part = slice(start, min(start + BATCH, rows))
            count = part.stop - part.start
            batch_logits, batch_weights = module(
                {c: _filled(features[c][part], torch.float32) for c in module.columns},
                {c: _filled(present[c][part], torch.bool) for c in module.columns},
            )
            logits[part] = batch_logits[:count].numpy()
            if batch_weights is not None:
                if weights is None:
                    weights = np.empty((rows, len(module.columns)), np.float32)
                weights[part] = batch_weights[:count].numpy()
    module.train(was_training)
    return Outputs(logits, weights)


def predict(
    module: Model,
    task: Task,
    features: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
) -> Predictions:
    """What a task makes of a model's logits; arguments as for `run`."""
    logits, weights = run(module, features, present)
    scores = task.scores(logits, float(module.temperature))
    there = np.stack([has_any(present[column]) for column in module.columns])
    scorable = there.sum(axis=0) >= task.least
    scores[~scorable] = np.nan
    if weights is not None:
        weights[~scorable] = np.nan
    return Predictions(scores, weights, scorable)


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of some rows, then of others, as one."""
    weights = [part.weights for part in parts if part.weights is not None]
    return Predictions(
        np.concatenate([part.scores for part in parts]),
        np.concatenate(weights) if weights else None,
        np.concatenate([part.scorable for part in parts]),
    )


def has_any(present: np.ndarray) -> np.ndarray:
    """Which rows have a column, shape (rows,); of tokens those with one or more."""
    return present if present.ndim == 1 else np.logical_or.reduce(present, axis=1)


def _filled(values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """The values on top of zeros, `BATCH` rows in all."""
    filled = torch.zeros((BATCH, *values.shape[1:]), dtype=dtype)
    filled[: len(values)] = torch.from_numpy(np.array(values))
    return filled
