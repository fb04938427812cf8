"""Apply input conditioning to a dataset, so that training conditions each row once."""

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from mmfeat.features import Column, ColumnShard
from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from mmfeat.models.conditioning import InputConditioning
from mmfeat.models.projection import Projection
from training.data import Dataset, ShardColumns

_PART_ROWS = 4096
"""Rows in memory at a time."""


def condition_dataset(dataset: Dataset, modules: Mapping[str, InputConditioning]) -> Dataset:
    """Return the same rows with conditioned features of float32.

    Features in memory are conditioned once. Those of a store are conditioned whenever a shard is
    opened.

    Args:
        dataset: the rows.
        modules: column → fitted conditioning.
    """
    columns = [_conditioned_column(c, modules.get(c.name)) for c in dataset.features.columns]

    def condition(shard: ShardColumns) -> ShardColumns:
        return {
            column.name: _condition(shard[column.name], modules.get(column.name))
            for column in columns
        }

    return replace(dataset, features=dataset.features.map_shards(columns, condition))


def attach_conditioning(
    model: Model, architecture: Architecture, modules: Mapping[str, InputConditioning]
) -> Model:
    """Return a model of raw features from one of conditioned features.

    Args:
        model: the model of conditioned features.
        architecture: the layers with their conditioning.
        modules: column → fitted conditioning.
    """
    with torch.random.fork_rng(devices=[]):
        conditioned = build_model(architecture)
    conditioned.load_state_dict(model.state_dict(), strict=False)
    for column, projection in zip(conditioned.columns, _projections(conditioned), strict=True):
        if column in modules:
            assert projection.conditioning is not None
            projection.conditioning.load_state_dict(modules[column].state_dict())
    return conditioned.train(model.training)


def _projections(model: Model) -> list[Projection]:
    """Return the projection of each column."""
    return [module for module in model.modules() if isinstance(module, Projection)]


def with_conditioning(
    architecture: Architecture, modules: Mapping[str, InputConditioning]
) -> Architecture:
    """Return the layers with the conditioning of their columns."""
    return replace(
        architecture, conditioning={name: module.text for name, module in modules.items()}
    )


def without_conditioning(
    architecture: Architecture, modules: Mapping[str, InputConditioning]
) -> Architecture:
    """Return the layers of a model of conditioned features."""
    dims = {
        name: modules[name].out_dim if name in modules else dim
        for name, dim in architecture.dims.items()
    }
    return replace(architecture, dims=dims, conditioning={})


def _conditioned_column(column: Column, module: InputConditioning | None) -> Column:
    return replace(column, dim=module.out_dim, dtype="float32") if module else column


def _condition(shard: ColumnShard, module: InputConditioning | None) -> ColumnShard:
    if module is None:
        return shard
    module = copy.deepcopy(module).eval()
    values = np.empty((len(shard.features), module.out_dim), np.float32)
    with torch.inference_mode():
        for start in range(0, len(values), _PART_ROWS):
            part = slice(start, start + _PART_ROWS)
            x = torch.from_numpy(np.array(shard.features[part], np.float32))
            if shard.offsets is None:  # a row without a feature may hold any value
                x[torch.from_numpy(~shard.present[part])] = 0
            values[part] = module(x).numpy()
    return replace(shard, features=values)
