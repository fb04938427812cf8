"""The mean of each feature column among the training rows, for models that subtract it."""

from torch import Tensor

from mmfeat.models.linear import LinearModel, pooled
from training.batches import Batches
from training.data import Dataset

_ROWS = 4096
"""Rows in memory at a time."""


def training_means(dataset: Dataset) -> dict[str, Tensor]:
    """Column → float32, shape [dim]; of the rows that have it, zeros where none has."""
    sums: dict[str, Tensor] = {}
    rows: dict[str, int] = {}
    for batch in Batches(dataset, _ROWS, shuffled=False):
        for name, values in batch.features.items():
            x, there = pooled(values, batch.present[name])
            sums[name] = sums.get(name, 0) + x.double().sum(dim=0)
            rows[name] = rows.get(name, 0) + int(there.sum())
    return {name: (total / max(1, rows[name])).float() for name, total in sums.items()}


def set_means(module: LinearModel, means: dict[str, Tensor]) -> None:
    """Give a model the means it subtracts."""
    for name, buffer in module.means.items():
        buffer.copy_(means[name])
