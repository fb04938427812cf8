"""The training loop: one model, one recipe, the best epoch kept."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from training.data.batches import Batch, Batches
from training.data.dataset import Dataset
from training.fit.auxiliary import Learner
from training.fit.checkpoint import Slot, Stand, restore, tensors_of
from training.fit.device import BFLOAT16, FLOAT32, ONE_CORE, Machine, pays, speedup_of_bfloat16
from training.fit.fit_result import Fitted, validate
from training.fit.recipe import CLIP, StepRecipe
from training.objectives import Objective
from training.objectives.imbalance import BALANCED_SAMPLING


def fit(
    architecture: Architecture,
    dataset: Dataset,
    recipe: StepRecipe,
    on_epoch: Callable[[int], None] = lambda epoch: None,
    *,
    machine: Machine = ONE_CORE,
    slot: Slot | None = None,
    tell: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> Fitted:
    """Train until the validation metric has not risen for `patience` epochs.

    The random state is the recipe's seed, whatever the caller drew before, and the caller's is
    left as it was.

    Args:
        architecture: the layers.
        dataset: the rows.
        recipe: the numbers.
        on_epoch: told the number of each epoch that ends.
        machine: what it is trained on.
        slot: where its checkpoint is kept, and gone on with where there is one.
        tell: told the log's entry of each epoch, of those before the checkpoint too.
    """
    with torch.random.fork_rng(devices=[machine.device] if machine.device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        batches = Batches(
            dataset,
            recipe.batch_size,
            balanced=recipe.imbalance == BALANCED_SAMPLING,
            device=machine.device,
        )
        steps = recipe.epochs * len(batches)
        trainer = Trainer(build_model(architecture), dataset.objective, recipe, steps, machine)
        return _fit(trainer, batches, dataset, slot, on_epoch, tell)


class Trainer:
    """A model and its optimizer, a step at a time.

    Args:
        model: is moved to the machine's device.
        objective: what is learned.
        recipe: the numbers.
        steps: of the whole training.
        machine: device and precision.
    """

    def __init__(
        self, model: Model, objective: Objective, recipe: StepRecipe, steps: int, machine: Machine
    ) -> None:
        self.learner = Learner(model, recipe.auxiliary).to(machine.device)
        self.recipe = recipe
        self.machine = machine
        self.taken = 0
        self._steps = steps
        self._weights = list(self.learner.parameters())
        with machine.device:  # the tensors of the loss lie there
            self._loss = objective.loss(recipe)
        self.optimizer = torch.optim.AdamW(
            self._weights, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
        )

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.recipe.lr * self.recipe.lr_at(self.taken, self._steps)

    def step(self, batch: Batch) -> Tensor:
        """Learn from a batch; returns its loss, shape []."""
        loss = self.learner.loss(batch, self._loss, self.machine)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._weights, CLIP)
        self.optimizer.param_groups[0]["lr"] = self.lr
        self.optimizer.step()
        self.taken += 1
        return loss.detach()

    @property
    def model(self) -> Model:
        """The model in training."""
        return self.learner.model


def _fit(
    trainer: Trainer,
    batches: Batches,
    dataset: Dataset,
    slot: Slot | None,
    on_epoch: Callable[[int], None],
    tell: Callable[[dict[str, Any]], None],
) -> Fitted:
    recipe, device = trainer.recipe, trainer.machine.device
    falls = recipe.metric in dataset.objective.falling
    log: list[dict[str, Any]] = []
    best: Fitted | None = None
    saved = slot.load() if slot else None
    if saved:
        stand = restore(saved.tensors, trainer.learner, trainer.optimizer, device)
        log = saved.facts["log"]
        trainer.taken = len(log) * len(batches)
        best = Fitted(stand.best, recipe, saved.facts["best"], log, falls)
        for entry in log:
            tell(entry)
    while len(log) < recipe.epochs and not (best and len(log) - best.epoch >= recipe.patience):
        log.append(_epoch(trainer, batches, dataset, len(log) + 1))
        tell(log[-1])
        on_epoch(len(log))
        now = Fitted(trainer.model, recipe, len(log), log, falls)
        if best is None or now.rank > best.rank:
            best = replace(now, module=trainer.learner.trained())
        if slot and slot.due:
            stand = Stand(trainer.learner, best.module, trainer.optimizer)
            slot.save(tensors_of(stand, device), {"log": log, "best": best.epoch})
    assert best is not None
    return best


def _epoch(trainer: Trainer, batches: Batches, dataset: Dataset, number: int) -> dict[str, Any]:
    """One pass over the training rows; its entry in the log."""
    began = time.perf_counter()
    lr = trainer.lr
    trainer.learner.train()
    total = torch.zeros((), device=trainer.machine.device)
    for batch in batches:
        total += trainer.step(batch)
    loss = float(total) / len(batches)
    trained = time.perf_counter() - began
    on_cpu = trainer.model if trainer.machine.device.type == "cpu" else trainer.learner.trained()
    return (
        {"epoch": number, "lr": lr, "loss": loss}
        | validate(on_cpu, dataset)
        | {"seconds": time.perf_counter() - began, "train_seconds": trained}
    )


def measure_bfloat16(
    architecture: Architecture, dataset: Dataset, recipe: StepRecipe, device: torch.device
) -> float:
    """How many times faster than in float32 this model learns in bfloat16 on this device."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        batch = next(iter(Batches(dataset, recipe.batch_size, shuffled=False))).to(device)
        trainers = {
            precision: Trainer(build_model(architecture), dataset.objective, recipe, 1000, machine)
            for precision in (FLOAT32, BFLOAT16)
            for machine in [Machine(device, precision)]
        }
        return speedup_of_bfloat16(lambda precision: float(trainers[precision].step(batch)))


def choose_precision(
    architecture: Architecture, dataset: Dataset, recipe: StepRecipe, device: torch.device
) -> tuple[str, float]:
    """The precision that --precision auto takes, and the measured speed-up of bfloat16."""
    speedup = measure_bfloat16(architecture, dataset, recipe, device)
    return (BFLOAT16 if pays(speedup) else FLOAT32), speedup
