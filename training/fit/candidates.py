"""Fit a model for each recipe."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from mmfeat.errors import DamagedFileError
from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.saved_model import restore_model
from training.conditioning import (
    attach_conditioning,
    condition_dataset,
    fit_conditioning,
    resolve_conditioning,
    with_conditioning,
    without_conditioning,
)
from training.data import Dataset
from training.fit.checkpoint import Checkpoint, CheckpointSlot
from training.fit.device import CPU_FLOAT32, ComputeConfig
from training.fit.fit_result import FitResult, best_result
from training.fit.linear import fit_logistic, fit_ridge
from training.fit.loop import fit_adamw
from training.recipe import AdamWRecipe, LogisticRecipe, Recipe, RidgeRecipe


def fit_recipes(
    architecture: Architecture,
    dataset: Dataset,
    recipes: Sequence[Recipe],
    on_epoch: Callable[[int, dict[str, Any]], None] = lambda number, metrics: None,
    *,
    compute: ComputeConfig = CPU_FLOAT32,
    checkpoint: Checkpoint | None = None,
    first: int = 0,
) -> list[FitResult]:
    """Fit each recipe.

    Args:
        architecture: the layers.
        dataset: the rows.
        recipes: recipes of one class.
        on_epoch: called with the number of the recipe and the metrics of each epoch. Ridge
            regression has no epochs.
        compute: device and precision of AdamW. Linear models are fitted in float32 on the CPU.
        checkpoint: the run's checkpoint. Recipes that are finished there are not fitted again.
        first: number of the first recipe, in `on_epoch` and in the checkpoint.
    """
    ridge_recipes = [recipe for recipe in recipes if isinstance(recipe, RidgeRecipe)]
    if ridge_recipes:
        return fit_ridge(architecture, dataset, ridge_recipes)
    results: list[FitResult] = []
    for number, recipe in enumerate(recipes):
        callback = partial(on_epoch, first + number)
        slot = checkpoint.slot(first + number) if checkpoint else None
        result = _load_finished(architecture, dataset, recipe, slot)
        if result:
            for metrics in result.log:
                callback(metrics)
        else:
            match recipe:
                case LogisticRecipe():
                    start = _start_from(results, recipe)
                    result = fit_logistic(architecture, dataset, recipe, callback, start)
                case AdamWRecipe():
                    result = fit_adamw(
                        architecture, dataset, recipe, callback, compute=compute, slot=slot
                    )
                case _:
                    raise AssertionError(recipe)
            if slot and len(recipes) + first > 1:
                facts = {"finished": result.epoch, "log": result.log}
                slot.save(dict(result.module.state_dict()), facts)
        results.append(result)
    return results


def fit_conditionings(
    architecture: Architecture,
    dataset: Dataset,
    recipes: Sequence[AdamWRecipe],
    on_epoch: Callable[[int, dict[str, Any]], None] = lambda number, metrics: None,
    *,
    compute: ComputeConfig = CPU_FLOAT32,
    checkpoint: Checkpoint | None = None,
) -> list[FitResult]:
    """Fit each recipe on features in its conditioning; the models take raw features.

    Arguments as for `fit_recipes`.
    """
    results: list[FitResult] = []
    for conditioning in dict.fromkeys(recipe.conditioning for recipe in recipes):
        modules = fit_conditioning(dataset, resolve_conditioning(conditioning, dataset))
        whole = with_conditioning(architecture, modules)
        group = fit_recipes(
            without_conditioning(whole, modules),
            condition_dataset(dataset, modules) if modules else dataset,
            [recipe for recipe in recipes if recipe.conditioning == conditioning],
            on_epoch,
            compute=compute,
            checkpoint=checkpoint,
            first=len(results),
        )
        results += [
            replace(result, module=attach_conditioning(result.module.cpu(), whole, modules))
            for result in group
        ]
    return results


def _start_from(results: Sequence[FitResult], recipe: LogisticRecipe) -> Model | None:
    """Return the model of the recipe before, if it differs in a smaller C only."""
    before = results[-1] if results else None
    if before is None or not isinstance(before.recipe, LogisticRecipe):
        return None
    is_smaller = before.recipe.inverse_penalty <= recipe.inverse_penalty
    same = replace(before.recipe, inverse_penalty=recipe.inverse_penalty) == recipe
    return before.module if is_smaller and same else None


def _load_finished(
    architecture: Architecture, dataset: Dataset, recipe: Recipe, slot: CheckpointSlot | None
) -> FitResult | None:
    """Return the result of a recipe that a killed run had finished."""
    saved = slot.load() if slot else None
    if saved is None or "finished" not in saved.facts:
        return None
    minimized = recipe.metric in dataset.objective.minimized
    try:
        with torch.random.fork_rng(devices=[]):
            model = restore_model(architecture, saved.tensors, "a checkpoint")
        result = FitResult(model, recipe, saved.facts["finished"], saved.facts["log"], minimized)
        return best_result([result])
    except (DamagedFileError, LookupError, TypeError, ValueError):
        return None
