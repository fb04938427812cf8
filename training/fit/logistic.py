"""Logistic regression, solved and not stepped: L-BFGS over all rows until the loss stands still."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from mmfeat.models.architecture import Architecture
from mmfeat.models.linear import Inputs, LinearModel
from training.data.batches import Batches
from training.data.dataset import Dataset
from training.data.splits import TRAIN
from training.fit.fit_result import Fitted, validate
from training.fit.recipe import ProbeRecipe
from training.fit.scaling import find_scaling, set_scaling

_ROWS = 4096
"""Rows in one forward: more would only take memory."""

_KEPT = 1 << 28
"""Bytes of scaled rows that are kept from one pass to the next."""

_ITERATIONS = 20
"""Iterations of L-BFGS in an epoch of the log."""

_STILL = 1e-4
"""An epoch that lowers the loss by less than this part of it is the last."""


class Passes:
    """The training rows as the model sees them, again and again.

    They are scaled once where the scaled ones fit into `_KEPT`, else in every pass.
    """

    def __init__(self, module: LinearModel, dataset: Dataset) -> None:
        self._module = module
        self._batches = Batches(dataset, _ROWS, shuffled=False)
        values = sum(module.architecture.dims.values())
        small = 4 * values * len(dataset.parts[TRAIN]) <= _KEPT
        self._kept = list(self._scaled()) if small else None

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        return iter(self._kept) if self._kept is not None else self._scaled()

    def _scaled(self) -> Iterator[tuple[Inputs, Tensor]]:
        for batch in self._batches:
            yield self._module.inputs(batch.features, batch.present), batch.targets


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
    passes = Passes(module, dataset)
    objective = dataset.objective
    loss_of = objective.loss(recipe)
    optimizer = torch.optim.LBFGS(
        module.parameters(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = module.penalty() / (recipe.inverse_penalty * rows)
        total.backward()
        for inputs, targets in passes:
            logits = module.logits(inputs)
            loss = loss_of(logits, targets) * (len(logits) / rows)
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
