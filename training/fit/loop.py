"""The training loop: one model, one recipe, the best epoch kept."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmfeat.errors import DamagedFileError
from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from training.data import VAL, Batches, Dataset
from training.fit.checkpoint import FOLDER, CheckpointSlot, SavedState
from training.fit.device import (
    BFLOAT16,
    CPU_FLOAT32,
    FLOAT32,
    ComputeConfig,
    cuda_devices,
    measure_speedup,
)
from training.fit.fit_result import (
    FitResult,
    best_result,
    stalled_epochs,
    validate,
    validation_metrics,
)
from training.fit.steps.device_validation import DeviceValidation
from training.fit.steps.trainer import Trainer
from training.objectives.describe import DescribeObjective
from training.objectives.imbalance import BALANCED_SAMPLING
from training.recipe import AdamWRecipe


def fit_adamw(
    architecture: Architecture,
    dataset: Dataset,
    recipe: AdamWRecipe,
    on_epoch: Callable[[dict[str, Any]], None] = lambda metrics: None,
    *,
    compute: ComputeConfig = CPU_FLOAT32,
    slot: CheckpointSlot | None = None,
) -> FitResult:
    """Train until the validation metric has not improved for `patience` epochs.

    The random state depends on the recipe's seed only; the caller's random state does not change.

    Args:
        architecture: the layers.
        dataset: the rows.
        recipe: the settings.
        on_epoch: called with the metrics of each epoch, also of epochs before a resumed checkpoint.
        compute: device and precision.
        slot: the candidate's checkpoint. Training resumes from it.
    """
    training = Training(architecture, dataset, recipe, on_epoch, compute=compute, slot=slot)
    return training.run()


class Training:
    """A training that may pause after an epoch. Pauses do not change the weights.

    Args:
        architecture, dataset, recipe, on_epoch, compute, slot: see `fit_adamw`.
    """

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        recipe: AdamWRecipe,
        on_epoch: Callable[[dict[str, Any]], None] = lambda metrics: None,
        *,
        compute: ComputeConfig = CPU_FLOAT32,
        slot: CheckpointSlot | None = None,
    ) -> None:
        self._dataset, self._recipe, self._slot = dataset, recipe, slot
        self._on_epoch = on_epoch
        self._minimized = recipe.metric in dataset.objective.minimized
        self._devices = cuda_devices(compute.device)
        self._log: list[dict[str, Any]] = []
        self._best: FitResult | None = None
        with torch.random.fork_rng(devices=self._devices):
            torch.manual_seed(recipe.seed)
            self._batches = Batches(
                dataset,
                recipe.batch_size,
                balanced=recipe.imbalance == BALANCED_SAMPLING,
                device=compute.device,
            )
            steps = recipe.epochs * len(self._batches)
            model = dataset.objective.initialize_model(build_model(architecture))
            self._trainer = Trainer(model, dataset.objective, recipe, steps, compute)
            if saved := slot.load() if slot else None:
                self._log = saved.facts["log"]
                self._best = _resume(self._trainer, saved, self._minimized)
                self._trainer.finished_steps = len(self._log) * len(self._batches)
            self._step = self._trainer.make_step(self._batches.to_batch)
            self._validation = DeviceValidation(
                dataset, dataset.split_rows[VAL], compute.device, self._batches.resident
            )
            self._random_states = self._read_random_states()
        for metrics in self._log:
            on_epoch(metrics)

    @property
    def model(self) -> Model:
        """The model after the last epoch, which may be worse than at the best one."""
        return self._trainer.model

    @property
    def finished(self) -> bool:
        """Whether all epochs are over, or the metric has not improved for `patience` epochs."""
        stalled = stalled_epochs(self._log, self._recipe.metric, minimized=self._minimized)
        return len(self._log) >= self._recipe.epochs or stalled >= self._recipe.patience

    def run(self, epochs: int | None = None) -> FitResult:
        """Train until the end, or until the log has some epochs, and return the best epoch so far.

        Args:
            epochs: number of epochs after which to pause, at least 1; None = train to the end.
        """
        with torch.random.fork_rng(devices=self._devices):
            self._set_random_states()
            while not self.finished and (epochs is None or len(self._log) < epochs):
                self._train_epoch()
            self._random_states = self._read_random_states()
        assert self._best is not None
        return self._best

    def _train_epoch(self) -> None:
        log, trainer = self._log, self._trainer
        start, lr = time.perf_counter(), trainer.lr
        trainer.module.train()
        total = torch.zeros((), device=trainer.compute.device)
        for inputs in self._batches.inputs():
            total += self._step(*inputs)
        loss = float(total) / len(self._batches)
        train_seconds = time.perf_counter() - start
        metrics = {"epoch": len(log) + 1, "lr": lr, "loss": loss} | self._validate()
        seconds = {"seconds": time.perf_counter() - start, "train_seconds": train_seconds}
        log.append(metrics | seconds)
        self._on_epoch(log[-1])
        latest = FitResult(trainer.model, self._recipe, len(log), log, self._minimized)
        if self._best is None or latest.sort_key > self._best.sort_key:
            self._best = replace(latest, module=trainer.module.copy_model())
        if self._slot and self._slot.due:
            state = trainer.state(self._best.module)
            self._slot.save(state.to_tensors(), {"log": log, "best": self._best.epoch})

    def _validate(self) -> dict[str, float | None]:
        model, dataset = self._trainer.model, self._dataset
        is_cpu = self._trainer.compute.device.type == "cpu"
        if is_cpu or isinstance(dataset.objective, DescribeObjective):
            return validate(model, dataset)  # an objective that describes knows the device
        return validation_metrics(dataset, self._validation.compute_logits(model))

    def _read_random_states(self) -> list[Tensor]:
        return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]

    def _set_random_states(self) -> None:
        of_cpu, *of_devices = self._random_states
        torch.set_rng_state(of_cpu)
        for device, state in zip(self._devices, of_devices, strict=True):
            torch.cuda.set_rng_state(state, device)


def _resume(trainer: Trainer, saved: SavedState, minimized: bool) -> FitResult:
    """Restore a checkpoint and return its best model.

    Raises:
        DamagedFileError: the checkpoint is one of another training.
    """
    state = trainer.state(trainer.module.copy_model())
    try:
        state.restore(saved.tensors)
        log, recipe = saved.facts["log"], trainer.recipe
        stalled_epochs(log, recipe.metric, minimized=minimized)
        best = FitResult(state.best, recipe, saved.facts["best"], log, minimized)
        return best_result([best])
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        raise DamagedFileError(
            "the checkpoint must be one of this training",
            got=f"{type(error).__name__}: {error}",
            cure=f"Remove the folder {FOLDER} in the output and run the same command again",
        ) from error


def measure_bfloat16(
    architecture: Architecture, dataset: Dataset, recipe: AdamWRecipe, device: torch.device
) -> float:
    """Return the speed of a training step in bfloat16 divided by its speed in float32."""
    with torch.random.fork_rng(devices=cuda_devices(device)):
        batches = Batches(dataset, recipe.batch_size, shuffled=False, device=device)
        inputs = next(iter(batches.inputs()))
        steps = {
            precision: Trainer(
                build_model(architecture),
                dataset.objective,
                recipe,
                1000,
                ComputeConfig(device, precision),
            ).make_step(batches.to_batch)
            for precision in (FLOAT32, BFLOAT16)
        }
        return measure_speedup(lambda precision: float(steps[precision](*inputs)))
