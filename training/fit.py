"""The training loop: one model, one recipe, the best epoch kept."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.inference import run, softmax
from mmfeat.models.multimodal import MultimodalClassifier
from training.calibration import nll
from training.data import Dataset
from training.metrics import scores
from training.recipe import CLIP, Recipe
from training.splits import TRAIN, VAL


@dataclass(frozen=True)
class Fitted:
    """A fitted model at its best epoch.

    Attributes:
        score: its metric on validation.
        loss: its NLL on validation; infinite where validation has no label the model knows.
        epoch: the best epoch, from 1.
        log: one entry an epoch.
    """

    module: MultimodalClassifier
    recipe: Recipe
    score: float
    loss: float
    epoch: int
    log: list[dict[str, Any]]

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better: the metric, and where it ties the loss to a thousandth.

        Without that bound a model that is right everywhere would train on for a loss of 1e-5.
        """
        return self.score, -round(self.loss, 3)


def fit(
    architecture: Architecture,
    dataset: Dataset,
    recipe: Recipe,
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
        return _fit(MultimodalClassifier(architecture), dataset, recipe, on_epoch)


def _fit(
    module: MultimodalClassifier,
    dataset: Dataset,
    recipe: Recipe,
    on_epoch: Callable[[int], None],
) -> Fitted:
    batches = Batches(dataset, recipe.batch_size)
    steps = recipe.epochs * len(batches)
    held_out = (*dataset.features_of(dataset.parts[VAL]), dataset.labels[dataset.parts[VAL]])
    loss_of = _Loss(recipe)
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
        for features, present, labels in batches:
            loss = loss_of(module(features, present)[0], labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total += loss.detach()
        trained = time.perf_counter() - began
        values = _validate(module, *held_out)
        log.append(
            {"epoch": epoch, "lr": lr, "loss": float(total) / len(batches)}
            | {f"val_{name}": value for name, value in values.items()}
            | {"seconds": time.perf_counter() - began, "train_seconds": trained}
        )
        on_epoch(epoch)
        val_loss = math.inf if values["nll"] is None else values["nll"]
        now = Fitted(module, recipe, values[recipe.metric], val_loss, epoch, log)
        if best is None or now.rank > best.rank:
            best = replace(now, module=copy.deepcopy(module))
        elif epoch - best.epoch >= recipe.patience:
            break
    assert best is not None
    return best


class Batches:
    """Shuffled batches of the training rows, gathered from memory; each pass shuffles anew.

    Yields (features, present, labels) as `MultimodalClassifier.forward` and the loss take them.
    """

    def __init__(self, dataset: Dataset, size: int) -> None:
        self._rows = torch.from_numpy(dataset.parts[TRAIN])
        self._features = {c: torch.from_numpy(v) for c, v in dataset.features.items()}
        self._present = {c: torch.from_numpy(v) for c, v in dataset.present.items()}
        self._labels = torch.from_numpy(dataset.labels)
        # A last batch of a few rows would be a noisy step: all batches are of nearly one size.
        self._count = max(1, round(len(self._rows) / size))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor], Tensor]]:
        order = self._rows[torch.randperm(len(self._rows))]
        for rows in order.tensor_split(self._count):
            yield (
                {c: v.index_select(0, rows).float() for c, v in self._features.items()},
                {c: v.index_select(0, rows) for c, v in self._present.items()},
                self._labels.index_select(0, rows),
            )


class _Loss:
    """Cross-entropy, with the log prior added to the logits where the recipe says so."""

    def __init__(self, recipe: Recipe) -> None:
        self._log_prior = torch.tensor(recipe.log_prior) if recipe.log_prior else None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self._log_prior is not None:
            logits = logits + self._log_prior
        return nn.functional.cross_entropy(logits, labels)


def _validate(
    module: MultimodalClassifier,
    features: dict[str, np.ndarray],
    present: dict[str, np.ndarray],
    labels: np.ndarray,
) -> dict[str, Any]:
    """The three scores and the NLL on validation."""
    logits = run(module, features, present).logits
    loss = nll(softmax(logits), labels)
    return scores(labels, logits.argmax(axis=1)) | {"nll": loss}
