"""How linear models bring each feature column to mean 0, from the training rows."""

import torch
from torch import Tensor

from mmfeat.models.linear import LinearModel, Scaling, pooled
from training.data.batches import Batches
from training.data.dataset import Dataset

_ROWS = 4096
"""Rows in memory at a time."""

_DENSE = 0.5
"""Least part of a column's values that is not 0, if dividing by deviations is to make sense: among
counts of words the rarest, which say least, would come to weigh most."""

_LEAST = 1e-3
"""A value that varies less than this part of the column's most varying one says nothing."""


def dense_columns(dataset: Dataset) -> set[str]:
    """The columns whose values can be standardised, by the first training rows."""
    batch = next(iter(Batches(dataset, _ROWS, shuffled=False)))
    found = {name: pooled(values, batch.present[name]) for name, values in batch.features.items()}
    return {
        name
        for name, (x, there) in found.items()
        if (x != 0).sum() >= _DENSE * there.sum() * x.shape[1]
    }


def find_scaling(dataset: Dataset, *, standardised: bool) -> dict[str, Scaling]:
    """Column → how to scale it, from the training rows that have it.

    Args:
        dataset: the rows.
        standardised: whether to divide each value of a dense column by its deviation.
    """
    sums: dict[str, Tensor] = {}
    for batch in Batches(dataset, _ROWS, shuffled=False):
        for name, values in batch.features.items():
            x, there = pooled(values, batch.present[name])
            x = x.double()
            rows = there.sum().expand(x.shape[1]).double()
            part = torch.stack([rows, x.sum(dim=0), x.square().sum(dim=0)])
            sums[name] = sums[name] + part if name in sums else part
    divided = dense_columns(dataset) if standardised else set()
    return {name: _scaling(total, name in divided) for name, total in sums.items()}


def _scaling(sums: Tensor, divided: bool) -> Scaling:
    rows, total, squares = sums
    mean = total / rows.clamp(min=1)
    scale = torch.ones_like(mean)
    if divided:
        deviation = (squares / rows.clamp(min=1) - mean.square()).clamp(min=0).sqrt()
        varies = deviation > _LEAST * deviation.max()
        scale = torch.where(varies, 1 / deviation, 0)
    return Scaling(mean.float(), scale.float())


def set_scaling(module: LinearModel, scaling: dict[str, Scaling]) -> None:
    """Give a model its scaling."""
    for name, own in module.scaling.items():
        own.mean.copy_(scaling[name].mean)
        own.scale.copy_(scaling[name].scale)
