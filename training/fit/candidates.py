"""A fitted model for each recipe that is tried."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from mmfeat.system.console import Bar
from training.data.dataset import Dataset
from training.fit.checkpoint import Checkpoint, Slot
from training.fit.device import ONE_CORE, Machine
from training.fit.fit_result import Fitted
from training.fit.log import Journal
from training.fit.logistic import solve
from training.fit.loop import fit
from training.fit.recipe import ProbeRecipe, Recipe, RidgeRecipe, StepRecipe
from training.fit.resolve import Plan
from training.fit.ridge import solve_ridge


def fit_candidates(
    plan: Plan,
    dataset: Dataset,
    *,
    machine: Machine = ONE_CORE,
    checkpoint: Checkpoint | None = None,
    journal: Journal | None = None,
) -> list[Fitted]:
    """A fitted model for each recipe of the plan.

    Args:
        plan: the layers and the recipes.
        dataset: the rows.
        machine: what steps are taken on; what is solved in closed form is solved on the CPU.
        checkpoint: where each candidate is kept; those that are finished there are not fitted.
        journal: told of each epoch.
    """
    ridges = [recipe for recipe in plan.recipes if isinstance(recipe, RidgeRecipe)]
    if ridges:
        return solve_ridge(plan.architecture, dataset, ridges)
    candidates: list[Fitted] = []
    with Bar("train", sum(recipe.epochs for recipe in plan.recipes), "epochs at most") as bar:
        for number, recipe in enumerate(plan.recipes):
            before = sum(earlier.epochs for earlier in plan.recipes[:number])
            on_epoch = partial(_advance, bar, before)
            tell = partial(_note_down, journal, recipe)
            slot = checkpoint.slot(number) if checkpoint else None
            fitted = _finished(plan, dataset, recipe, slot)
            if fitted:
                for entry in fitted.log:
                    tell(entry)
                candidates.append(fitted)
                continue
            fitted = fit_recipe(
                plan.architecture, dataset, recipe, on_epoch, machine=machine, slot=slot, tell=tell
            )
            candidates.append(fitted)
            if slot and len(plan.recipes) > 1:
                slot.save(_weights(fitted), {"finished": fitted.epoch, "log": fitted.log})
    return candidates


def fit_recipe(
    architecture: Architecture,
    dataset: Dataset,
    recipe: Recipe,
    on_epoch: Callable[[int], None] = lambda epoch: None,
    *,
    machine: Machine = ONE_CORE,
    slot: Slot | None = None,
    tell: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> Fitted:
    """A fitted model for one recipe, of steps or a probe; arguments as for `fit`.

    A ridge is solved for all its penalties at once: see `solve_ridge`.
    """
    match recipe:
        case ProbeRecipe():
            return solve(architecture, dataset, recipe, on_epoch, tell=tell)
        case StepRecipe():
            return fit(
                architecture, dataset, recipe, on_epoch, machine=machine, slot=slot, tell=tell
            )
    raise AssertionError(recipe)


def _finished(plan: Plan, dataset: Dataset, recipe: Recipe, slot: Slot | None) -> Fitted | None:
    """The candidate as a killed run finished it."""
    saved = slot.load() if slot else None
    if saved is None or "finished" not in saved.facts:
        return None
    with torch.random.fork_rng(devices=[]):
        module = build_model(plan.architecture)
    module.load_state_dict(saved.tensors)
    falls = recipe.metric in dataset.objective.falling
    return Fitted(module, recipe, saved.facts["finished"], saved.facts["log"], falls)


def _weights(fitted: Fitted) -> dict[str, Tensor]:
    return dict(fitted.module.state_dict())


def _advance(bar: Bar, before: int, epoch: int) -> None:
    bar.at(before + epoch)


def _note_down(journal: Journal | None, recipe: Recipe, entry: dict[str, Any]) -> None:
    if journal:
        journal.tell(recipe.choice, entry)
