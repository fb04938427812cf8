"""Forward over many rows in bounded batches, with results that do not depend on the batches."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from mmfeat.models.base import Model

BATCH = 512
"""Rows in every forward. The last batch is filled up to it: a matrix product may round a row
differently in a batch of another size, and then the same record would score differently in
another shard."""


class Outputs(NamedTuple):
    """What a model says of rows.

    Attributes:
        logits: float32, shape (rows, classes), before the temperature.
        weights: float32, shape (rows, modalities), or None where the fusion has none.
    """

    logits: np.ndarray
    weights: np.ndarray | None


class Predictions(NamedTuple):
    """What a model predicts of rows; NaN in the rows that are not scorable.

    Attributes:
        probabilities: float32, shape (rows, classes), calibrated by the temperature.
        weights: float32, shape (rows, modalities) in the order of the model's columns, 0 for an
            absent modality; None where the fusion has no weights.
        scorable: bool, shape (rows,); false where the record has none of the model's modalities.
    """

    probabilities: np.ndarray
    weights: np.ndarray | None
    scorable: np.ndarray


def run(
    module: Model,
    features: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
) -> Outputs:
    """Logits and weights of all rows; the module is in eval mode while it runs.

    Args:
        features: column → float16 or float32, shape (rows, dim).
        present: column → bool, shape (rows,).
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
    features: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
) -> Predictions:
    """Calibrated probabilities of all rows; arguments as for `run`."""
    logits, weights = run(module, features, present)
    probabilities = softmax(logits / np.float32(module.temperature))
    scorable = np.any([present[column] for column in module.columns], axis=0)
    probabilities[~scorable] = np.nan
    if weights is not None:
        weights[~scorable] = np.nan
    return Predictions(probabilities, weights, scorable)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64 and back to the logits' type."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    exponents = np.exp(shifted)
    return (exponents / exponents.sum(axis=-1, keepdims=True)).astype(logits.dtype)


def _filled(values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """The values on top of zeros, `BATCH` rows in all."""
    filled = torch.zeros((BATCH, *values.shape[1:]), dtype=dtype)
    filled[: len(values)] = torch.from_numpy(np.array(values))
    return filled
