"""Choose the input conditioning of each column, once for all networks of a comparison.

The network of one column alone tries its features as they are, and their principal components; the
better one on validation is the input of every fusion. So all fusions read the same inputs, and
training projects each row once.
"""

from collections.abc import Mapping
from typing import TypeAlias

from mmfeat.models.architecture import Architecture
from mmfeat.models.conditioning import IDF_PCA, PCA, InputConditioning
from mmfeat.models.saved_model import read_weights
from training.conditioning import (
    DEFAULT_SIZE,
    collect_moments,
    condition_dataset,
    fit_conditioning,
    is_sparse,
    with_conditioning,
    without_conditioning,
)
from training.data import TRAIN, Dataset

Inputs: TypeAlias = Mapping[str, InputConditioning]
"""Column → its fitted conditioning. Other columns stay as they are."""

MIN_RATIO = 2
"""Principal components are tried if a feature has more than so many times as many values."""

_BUFFERS = "projections.0.conditioning."


def fit_inputs(dataset: Dataset) -> list[Inputs]:
    """Return the inputs to try for a network of one column, raw features first.

_RESAMPLES = 400

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
