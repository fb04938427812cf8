"""The training loop: one model, one recipe, the best epoch kept."""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from training.batches import Batches
from training.data import Dataset
from training.fitted import Fitted, validate
from training.recipe import CLIP, StepRecipe


def fit(
    architecture: Architecture,
    dataset: Dataset,
    recipe: StepRecipe,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Fitted:
    """Train until the validation metric has not risen for `patience` epochs.

    The random state is the recipe's seed, whatever the caller drew before, and the caller's is
    left as it was.

    Args:
        architecture: the layers.
        dataset: the rows.
        recipe: the numbers.
        on_epoch: told the number of each epoch that ends.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return _fit(build_model(architecture), dataset, recipe, on_epoch)


def _fit(
    module: Model,
    dataset: Dataset,
    recipe: StepRecipe,
    on_epoch: Callable[[int], None],
) -> Fitted:
    batches = Batches(dataset, recipe.batch_size)
    steps = recipe.epochs * len(batches)
    objective = dataset.objective
    loss_of = objective.loss(recipe)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: recipe.lr_at(n, steps))
    best: Fitted | None = None
    log: list[dict[str, Any]] = []
    for epoch in range(1, recipe.epochs + 1):
        began = time.perf_counter()
        lr = schedule.get_last_lr()[0]
        module.train()
        total = torch.zeros(())
        for batch in batches:
            loss = loss_of(module(batch.features, batch.present)[0], batch.targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total += loss.detach()
        trained = time.perf_counter() - began
        log.append(
            {"epoch": epoch, "lr": lr, "loss": float(total) / len(batches)}
            | validate(module, dataset)
            | {"seconds": time.perf_counter() - began, "train_seconds": trained}
        )
        on_epoch(epoch)
        now = Fitted(module, recipe, epoch, log, recipe.metric in objective.falling)
        if best is None or now.rank > best.rank:
            best = replace(now, module=copy.deepcopy(module))
        elif epoch - best.epoch >= recipe.patience:
            break
    assert best is not None
    return best
