"""Make a model, from the features to the last file.

columns → data in memory → plan → claim → fit each recipe → temperature → files
"""

from functools import partial

import torch

from mmfeat import storage
from mmfeat.console import Bar, say
from mmfeat.features import FeatureStore
from mmfeat.store import MANIFEST, claim, exclusive
from training.config import TrainConfig
from training.data import Dataset
from training.fit import fit
from training.fitted import Fitted
from training.outcome import judge, show_outcome, write_model
from training.plan import Plan, choose_columns, open_dataset, plan_training
from training.predictions import write_predictions
from training.probe import solve
from training.recipe import ProbeRecipe, RidgeRecipe, StepRecipe
from training.ridge import solve_ridge


def make_model(config: TrainConfig) -> None:
    """Train a model and write it; a finished one is left alone.

    Raises:
        MmfeatError: the features lack what the options name, or the output holds another model.
    """
    with exclusive(config.output):
        _make_model(config)


def _make_model(config: TrainConfig) -> None:
    torch.set_num_threads(config.run.threads)
    store = FeatureStore(config.features)
    columns = choose_columns(store, config.modalities)
    dataset = open_dataset(config, store, columns)
    plan = plan_training(config, store, columns, dataset)
    config_hash = claim(config.output, "model", plan.claim)
    if storage.exists(storage.join(config.output, MANIFEST)):
        say(f"{config.output} holds this model already; nothing to do")
        return
    candidates = fit_candidates(plan, dataset)
    best = max(candidates, key=lambda candidate: candidate.rank)
    metrics = judge(best, candidates, dataset)
    write_predictions(config.output, store, best, dataset)
    write_model(config.output, config_hash, best, candidates, metrics)
    show_outcome(config.output, dataset, best.recipe.choice, metrics)


def fit_candidates(plan: Plan, dataset: Dataset) -> list[Fitted]:
    """A fitted model for each recipe of the plan."""
    ridges = [recipe for recipe in plan.recipes if isinstance(recipe, RidgeRecipe)]
    if ridges:
        return solve_ridge(plan.architecture, dataset, ridges)
    candidates: list[Fitted] = []
    with Bar("train", sum(recipe.epochs for recipe in plan.recipes), "epochs at most") as bar:
        for number, recipe in enumerate(plan.recipes):
            before = sum(earlier.epochs for earlier in plan.recipes[:number])
            tell = partial(_tell, bar, before)
            match recipe:
                case ProbeRecipe():
                    candidates.append(solve(plan.architecture, dataset, recipe, tell))
                case StepRecipe():
                    candidates.append(fit(plan.architecture, dataset, recipe, tell))
    return candidates


def _tell(bar: Bar, before: int, epoch: int) -> None:
    bar.at(before + epoch)
