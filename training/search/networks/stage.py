"""The networks of a search: fusions of raw and of conditioned features."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from mmfeat.models.conditioning import InputConditioning
from training.conditioning import (
    NONE,
    attach_conditioning,
    condition_dataset,
    fit_conditioning,
    resolve_conditioning,
    with_conditioning,
    without_conditioning,
)
from training.data import TRAIN, VAL, Batches, Dataset
from training.fit.checkpoint import CheckpointSlot
from training.fit.device import CPU, CPU_FLOAT32, ComputeConfig, cuda_devices
from training.fit.fit_result import compute_logits
from training.fit.loop import fit_adamw
from training.fit.steps.trainer import Trainer
from training.objectives.imbalance import BALANCED_SAMPLING
from training.recipe import AdamWRecipe
from training.search.candidate import Candidate, Judge
from training.search.folds import Folds

TRIAL = -1
"""Number of the trial, which may have fewer rows than the first fold."""

MAX_TRIAL_ROWS = 20_000
"""Maximum number of training rows of a trial."""


@dataclass(frozen=True)
class NetworkSpec:
    """A network to try.

    Attributes:
        name: for people.
        architecture: the layers, without conditioning.
        conditioning: conditioning of all columns; `NONE` = none.
        recipe: the settings.
    """

    name: str
    architecture: Architecture
    conditioning: str
    recipe: AdamWRecipe

    @property
    def settings(self) -> dict[str, Any]:
        """What distinguishes the network, for people."""
        return {
            "model": self.architecture.fusion,
            "conditioning": self.conditioning,
            "lr": self.recipe.lr,
        }


@dataclass
class NetworkStage:
    """Trains networks on the folds of a search, a fixed number of epochs each.

    No epoch is chosen on the rows that a fold predicts, so these rows judge the network fairly.

    Attributes:
        folds: the rows.
        judge: judges predictions.
        device: device of trials and of trainings on folds.
    """

    folds: Folds
    judge: Judge
    device: torch.device = CPU
    _conditioned: dict[tuple[int, str], tuple[Dataset, dict[str, InputConditioning]]] = field(
        default_factory=dict
    )
    _fitted: dict[tuple[str, int], tuple[Model, np.ndarray]] = field(default_factory=dict)

    @property
    def trial_rows(self) -> int:
        """Number of training rows of `try_out`."""
        return len(self._trial_dataset.split_rows[TRAIN])

    @property
    def _trial_dataset(self) -> Dataset:
        """The first fold, with at most `MAX_TRIAL_ROWS` training rows, evenly spaced."""
        dataset = self.folds.datasets[0]
        rows = dataset.split_rows[TRAIN]
        if len(rows) <= MAX_TRIAL_ROWS:
            return dataset
        kept = rows[np.linspace(0, len(rows) - 1, MAX_TRIAL_ROWS).astype(int)]
        return replace(dataset, split_rows={**dataset.split_rows, TRAIN: kept})

    def try_out(self, spec: NetworkSpec) -> tuple[np.ndarray, np.ndarray]:
        """Train on the first fold; return the positions of its rows, and logits of these."""
        return self.folds.parts[0], self._fit(spec, TRIAL)[1]

    def cross_fit(self, spec: NetworkSpec) -> Candidate:
        """Return the candidate of a network: the mean of the models of all folds."""
        start = time.perf_counter()
        fitted = [self._fit(spec, fold) for fold in range(len(self.folds.parts))]
        logits = np.empty((len(self.folds.rows), fitted[0][1].shape[1]), np.float32)
        for part, (_, values) in zip(self.folds.parts, fitted, strict=True):
            logits[part] = values
        return self._candidate(spec, logits, [model for model, _ in fitted], start)

    def fit_whole(
        self, spec: NetworkSpec, compute: ComputeConfig, slot: CheckpointSlot | None
    ) -> Candidate:
        """Return the candidate of a network trained on all training rows, at its best epoch.

        Args:
            spec: the network.
            compute: device and precision.
            slot: the checkpoint to resume from.
        """
        start = time.perf_counter()
        dataset, modules = self._condition(spec, 0)
        architecture = with_conditioning(spec.architecture, modules)
        layers = without_conditioning(architecture, modules)
        result = fit_adamw(layers, dataset, spec.recipe, compute=compute, slot=slot)
        model = attach_conditioning(result.module.cpu().eval(), architecture, modules)
        logits = compute_logits(result.module, dataset, dataset.split_rows[VAL])
        return self._candidate(spec, logits, [model], start)

    def _candidate(
        self, spec: NetworkSpec, logits: np.ndarray, models: list[Model], start: float
    ) -> Candidate:
        return Candidate(
            name=spec.name,
            columns=tuple(spec.architecture.dims),
            settings={**spec.settings, "epochs": spec.recipe.epochs},
            logits=logits,
            judgement=self.judge.judge(logits),
            build=lambda: models,
            seconds=time.perf_counter() - start,
        )

    def _fit(self, spec: NetworkSpec, fold: int) -> tuple[Model, np.ndarray]:
        if fold == TRIAL and self._trial_dataset is self.folds.datasets[0]:
            fold = 0
        key = (repr(spec), fold)
        if key not in self._fitted:
            dataset, modules = self._condition(spec, fold)
            architecture = with_conditioning(spec.architecture, modules)
            layers = without_conditioning(architecture, modules)
            recipe = replace(spec.recipe, seed=spec.recipe.seed * 1000 + max(0, fold))
            model = train_epochs(layers, dataset, recipe, ComputeConfig(self.device))
            logits = compute_logits(model, dataset, dataset.split_rows[VAL])
            self._fitted[key] = (attach_conditioning(model, architecture, modules), logits)
        return self._fitted[key]

    def _condition(
        self, spec: NetworkSpec, fold: int
    ) -> tuple[Dataset, dict[str, InputConditioning]]:
        dataset = self._trial_dataset if fold == TRIAL else self.folds.datasets[fold]
        dataset = dataset.select_columns(spec.architecture.dims)
        if spec.conditioning == NONE:
            return dataset, {}
        key = (fold, spec.conditioning + "/".join(spec.architecture.dims))
        if key not in self._conditioned:
            kinds = resolve_conditioning(spec.conditioning, dataset)
            modules = fit_conditioning(dataset, kinds)
            self._conditioned[key] = (condition_dataset(dataset, modules), modules)
        return self._conditioned[key]


def train_epochs(
    architecture: Architecture,
    dataset: Dataset,
    recipe: AdamWRecipe,
    compute: ComputeConfig = CPU_FLOAT32,
) -> Model:
    """Train for all epochs of the recipe and return the last model, on the CPU."""
    with torch.random.fork_rng(devices=cuda_devices(compute.device)):
        torch.manual_seed(recipe.seed)
        batches = Batches(
            dataset,
            recipe.batch_size,
            balanced=recipe.imbalance == BALANCED_SAMPLING,
            device=compute.device,
        )
        steps = recipe.epochs * len(batches)
        model = build_model(architecture)
        trainer = Trainer(model, dataset.objective, recipe, steps, compute)
        step = trainer.make_step(batches.to_batch)
        trainer.module.train()
        for _ in range(recipe.epochs):
            for inputs in batches.inputs():
                step(*inputs)
    return trainer.model.cpu().eval()
