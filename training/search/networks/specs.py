"""The networks that a search tries, in order, and the size of their training."""

from collections.abc import Sequence
from dataclasses import replace

from mmfeat.models.architecture import LATE, Architecture
from mmfeat.models.conditioning import PCA
from training.conditioning import DEFAULT_SIZE, NONE
from training.recipe import AdamWRecipe
from training.search.networks.budget import Quality, training_work
from training.search.networks.stage import NetworkSpec

LEARNING_RATES = (3e-3, 1e-3)
"""Learning rates of the networks of a search; with folds, the first one only, except for the best
quality."""

TRIAL_STEPS, FOLD_STEPS = 80, 160
"""Steps of a trial, and of a training on a fold."""

MIN_FOLD_STEPS = 80
"""Fewest steps of a training on a fold, if the budget allows no more."""

_MIN_BATCH, _MAX_BATCH = 64, 1024


def list_specs(
    architecture: Architecture,
    recipe: AdamWRecipe,
    learning_rates: Sequence[float],
    condition: str,
    quality: Quality,
) -> list[NetworkSpec]:
    """Return the networks to try, the most promising first.

    Args:
        architecture: layers of the main fusion, for raw features.
        recipe: settings; the learning rate is replaced.
        learning_rates: learning rates to try.
        condition: the conditioning to use; `default` or `auto` = PCA and raw features.
        quality: size of the search.
    """
    conditionings = [PCA, NONE] if condition in ("default", "auto") else [condition]
    if quality == "fast":
        conditionings, learning_rates = conditionings[:1], learning_rates[:1]
    fusions = [architecture.fusion]
    if len(architecture.dims) > 1 and quality != "fast":
        fusions.append(LATE)
    specs = []
    for conditioning in conditionings:
        for fusion in fusions if conditioning == conditionings[0] else fusions[:1]:
            rates = learning_rates if fusion == fusions[0] and conditioning == PCA else (
                learning_rates[:1]
            )  # fmt: skip
            for lr in rates:
                name = (
                    fusion
                    if len(architecture.dims) > 1
                    else f"{next(iter(architecture.dims))}: network"
                )
                specs.append(
                    NetworkSpec(
                        f"{name} ({conditioning}, lr {lr:g})",
                        replace(architecture, fusion=fusion),
                        conditioning,
                        replace(recipe, lr=lr),
                    )
                )
    return specs


def with_steps(
    spec: NetworkSpec, rows: int, epochs: int, batch_size: int | None, total: float = TRIAL_STEPS
) -> NetworkSpec:
    """Return a network with the batch size and the epochs for so many training rows.

    Args:
        spec: the network.
        rows: training rows.
        epochs: most epochs.
        batch_size: rows of a batch; None = a 50th of the rows, from 64 to 1,024.
        total: steps of a small dataset; a large one is seen four times.
    """
    batch = batch_size or min(_MAX_BATCH, max(_MIN_BATCH, rows // 50))
    steps = max(1, round(rows / batch))
    count = max(1, min(epochs, max(4, round(total / steps))))
    return replace(spec, recipe=replace(spec.recipe, batch_size=batch, epochs=count))


def spec_work(spec: NetworkSpec, rows: int) -> float:
    """Return the units of work of a training on so many rows."""
    dims = {
        name: min(dim, DEFAULT_SIZE) if spec.conditioning == PCA else dim
        for name, dim in spec.architecture.dims.items()
    }
    recipe = spec.recipe
    steps = recipe.epochs * max(1, round(rows / recipe.batch_size))
    layers = replace(spec.architecture, dims=dims)
    return training_work(layers, rows * recipe.epochs, steps)
