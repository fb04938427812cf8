"""Logistic regression, solved and not stepped: L-BFGS over all rows until the loss stands still."""

import time
from collections.abc import Callable
from typing import Any

import torch

from mmfeat.models.architecture import Architecture
from mmfeat.models.linear import LinearModel
from training.batches import Batches
from training.data import Dataset
from training.fitted import Fitted, validate
from training.recipe import ProbeRecipe
from training.scaling import find_scaling, set_scaling
from training.splits import TRAIN

_ROWS = 4096
"""Rows in one forward: more would only take memory."""

_ITERATIONS = 20
"""Iterations of L-BFGS in an epoch of the log."""

_STILL = 1e-4
"""An epoch that lowers the loss by less than this part of it is the last."""


def solve(
    architecture: Architecture,
    dataset: Dataset,
    recipe: ProbeRecipe,
    on_epoch: Callable[[int], None] = lambda epoch: None,
    *,
    tell: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> Fitted:
    """Minimise mean cross-entropy + penalty / (C · rows), which has one minimum.

    Validation does not stop it: the last epoch is the best one. Arguments as for `fit`.
    """
    module = LinearModel(architecture)
    set_scaling(module, find_scaling(dataset, standardised=recipe.standardised))
    rows = len(dataset.parts[TRAIN])
    batches = Batches(dataset, _ROWS, shuffled=False)
    objective = dataset.objective
    loss_of = objective.loss(recipe)
    optimizer = torch.optim.LBFGS(
        module.parameters(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        total = module.penalty() / (recipe.inverse_penalty * rows)
        total.backward()
        for batch in batches:
            logits, _ = module(batch.features, batch.present)
            loss = loss_of(logits, batch.targets) * (len(logits) / rows)
            loss.backward()
            total = total.detach() + loss.detach()
        return total

    log: list[dict[str, Any]] = []
    before = float("inf")
    for epoch in range(1, recipe.epochs + 1):
        began = time.perf_counter()
        optimizer.step(closure)
        trained = time.perf_counter() - began
        loss = float(closure())
        log.append(
            {"epoch": epoch, "loss": loss}
            | validate(module, dataset)
            | {"seconds": time.perf_counter() - began, "train_seconds": trained}
        )
        tell(log[-1])
        on_epoch(epoch)
        if before - loss <= _STILL * loss:
            break
        before = loss
    return Fitted(module, recipe, len(log), log, recipe.metric in objective.falling)
