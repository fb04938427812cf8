"""Choose the input conditioning of each column, once for all networks of a comparison.

The network of one column alone tries its features as they are, and their principal components.
These are many times cheaper, so they are the input of every fusion unless the features are clearly
better on validation: the one-standard-error rule of Breiman et al. 1984, Classification and
Regression Trees. So all fusions read the same inputs, and training projects each row once.
"""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from mmfeat.models.architecture import Architecture
from mmfeat.models.conditioning import IDF_PCA, PCA, InputConditioning
from mmfeat.models.saved_model import read_weights
from training.compare.statistics.bootstrap import resample_metric
from training.conditioning import (
    DEFAULT_SIZE,
    collect_moments,
    condition_dataset,
    fit_conditioning,
    is_sparse,
    with_conditioning,
    without_conditioning,
)
from training.data import TRAIN, VAL, Dataset

Inputs: TypeAlias = Mapping[str, InputConditioning]
"""Column → its fitted conditioning. Other columns stay as they are."""

MIN_RATIO = 2
"""Principal components are tried if a feature has more than so many times as many values."""

_BUFFERS = "projections.0.conditioning."

_RESAMPLES = 400


def fit_inputs(dataset: Dataset) -> list[Inputs]:
    """Return the inputs to try for a network of one column, raw features first.

    Args:
        dataset: the rows, with one column.
    """
    (column,) = dataset.features.columns
    size = max(1, min(DEFAULT_SIZE, len(dataset.split_rows[TRAIN]) // 2))
    if column.dim <= MIN_RATIO * size:
        return [{}]
    moments = collect_moments(dataset, {column.name: PCA})[column.name]
    kind = IDF_PCA if is_sparse(moments) else PCA
    return [{}, fit_conditioning(dataset, {column.name: f"{kind}:{size}"})]


def is_clearly_better(dataset: Dataset, metric: str, logits: np.ndarray, other: np.ndarray) -> bool:
    """Whether a model is better than another one by more than a standard error on validation.

    The standard error of the difference is estimated on resamples of the rows, the same for both.

    Args:
        dataset: the rows.
        metric: name of the metric.
        logits, other: logits of both models on the validation rows, shape (rows, outputs).
    """
    objective = dataset.objective
    truth = objective.comparison_targets(dataset.targets[dataset.split_rows[VAL]])
    predictions = {"one": objective.predict(logits)[None], "other": objective.predict(other)[None]}
    measure = objective.comparison_metric(metric)
    one, two = (objective.maximized(metric, measure(truth, p[0])) for p in predictions.values())
    if not one - two > 0:
        return False
    values = resample_metric(truth, predictions, measure, resamples=_RESAMPLES)
    difference = values["one"] - values["other"]
    return bool(one - two > np.nanstd(difference))


def read_inputs(column: str, dim: int, conditioning: Mapping[str, str], folder: str) -> Inputs:
    """Read the input of a column from the trial that chose it.

    Args:
        column: name of the column.
        dim: length of its features.
        conditioning: `Trial.conditioning` of the trial.
        folder: folder of the trial.
    """
    if column not in conditioning:
        return {}
    module = InputConditioning(dim, conditioning[column])
    weights = read_weights(folder)
    module.load_state_dict(
        {
            name.partition(_BUFFERS)[2]: values
            for name, values in weights.items()
            if _BUFFERS in name
        }
    )
    return {column: module}


def condition(
    architecture: Architecture, dataset: Dataset, inputs: Inputs
) -> tuple[Architecture, Dataset]:
    """Return the layers and the rows with which to train on inputs."""
    if not inputs:
        return architecture, dataset
    layers = without_conditioning(with_conditioning(architecture, inputs), inputs)
    return layers, condition_dataset(dataset, inputs)
