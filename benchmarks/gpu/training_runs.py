"""Trainings of one network with different batches and steps, and what limits them."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from mmfeat.models.saved_model import input_shapes
from training.data import TRAIN, Batches, Dataset
from training.fit.device import FLOAT32, ComputeConfig
from training.fit.fit_result import FitResult, best_result
from training.fit.loop import Training
from training.fit.steps.trainer import Trainer
from training.recipe import LEARNING_RATES, AdamWRecipe

BASE_SIZE = 1024
"""Batch size that the learning rates are made for."""


@dataclass(frozen=True)
class Run:
    """A kind of training.

    Attributes:
        batch_size: rows of a batch.
        graphs: whether steps are CUDA graphs.
        precision: precision of the forward pass.
        rates: learning rates to try, before scaling; empty = one that `Bench` was given.
        scaled: whether the learning rate grows with the square root of the batch size.
        seeds: seeds of the best learning rate whose metrics are averaged.
    """

    batch_size: int
    graphs: bool = True
    precision: str = FLOAT32
    rates: Sequence[float] = LEARNING_RATES
    scaled: bool = True
    seeds: int = 3

    @property
    def name(self) -> str:
        """For people."""
        return f"{'graph' if self.graphs else 'eager'}, {self.precision}"

    def lr(self, rate: float) -> float:
        """Return the learning rate that stands for one of `BASE_SIZE`."""
        return rate * (max(1.0, self.batch_size / BASE_SIZE) ** 0.5 if self.scaled else 1.0)


@dataclass
class RunFigures:
    """Measurements of a run.

    Attributes:
        rows_per_s: training rows per second, median over epochs.
        with_validation: the same, with the validation after each epoch.
        whole_s: seconds of one training, from the features in the memory of the CPU on.
        metric: accuracy on validation at the best epoch, mean over the seeds.
        metrics: of each seed.
        lr: the best learning rate.
        results: of the best learning rate, one per seed.
    """

    rows_per_s: float
    with_validation: float
    whole_s: float
    metric: float
    metrics: Sequence[float]
    lr: float
    rate: float
    results: Sequence[FitResult] = field(repr=False, default=())


class Bench:
    """Trains one architecture on one dataset.

    Args:
        dataset: the rows.
        device: device of the steps.
        epochs: epochs of a training.
        fusion: name of the fusion.
        hidden: width of its layers.
    """

    def __init__(
        self, dataset: Dataset, device: torch.device, epochs: int, fusion: str, hidden: int
    ) -> None:
        self.dataset, self.device, self.epochs = dataset, device, epochs
        self.rows = len(dataset.split_rows[TRAIN])
        self.architecture = Architecture(
            **input_shapes(dataset.features.columns),
            outputs=dataset.objective.task.outputs,
            fusion=fusion,
            hidden=hidden,
        )

    def run(self, run: Run) -> RunFigures:
        """Try the learning rates, then train the best one with other seeds."""
        tried = [self._train(run, rate, 0) for rate in run.rates]
        best = best_result([result for result, _ in tried])
        number = [result for result, _ in tried].index(best)
        others = [self._train(run, run.rates[number], seed) for seed in range(1, run.seeds)]
        results = [best, *(result for result, _ in others)]
        epochs = [epoch for result, _ in [*tried, *others] for epoch in result.log[1:]]
        metrics = [float(result.score or 0) for result in results]
        return RunFigures(
            self.rows / statistics.median(epoch["train_seconds"] for epoch in epochs),
            self.rows / statistics.median(epoch["seconds"] for epoch in epochs),
            statistics.median(seconds for _, seconds in [*tried, *others]),
            statistics.mean(metrics),
            metrics,
            run.lr(run.rates[number]),
            run.rates[number],
            results,
        )

    def _train(self, run: Run, rate: float, seed: int) -> tuple[FitResult, float]:
        start = time.perf_counter()
        compute = ComputeConfig(self.device, run.precision, graphs=run.graphs)
        recipe = self._recipe(run.batch_size, run.lr(rate), seed)
        training = Training(self.architecture, self.dataset, recipe, compute=compute)
        return training.run(), time.perf_counter() - start

    def bare_rate(self, batch_size: int, graphs: bool, seconds: float) -> float:
        """Return rows per second of steps on one batch that stays where it is."""
        trainer, batches = self._trainer(batch_size, graphs)
        batch = batches.to_batch(*next(iter(batches.inputs())))
        step = trainer.make_step(lambda: batch)
        return self._time(lambda: [step() for _ in range(len(batches))], seconds)

    def compiled_rate(self, batch_size: int, seconds: float) -> tuple[float, float]:
        """Return rows per second of compiled steps that are captured, and seconds of compiling."""
        start = time.perf_counter()
        trainer, batches = self._trainer(batch_size, graphs=True)
        loss: Any = torch.compile(trainer.module.loss, dynamic=False)
        trainer.module.loss = loss  # type: ignore[method-assign]
        step = trainer.make_step(batches.to_batch)
        for number, inputs in enumerate(batches.inputs()):
            step(*inputs)
            if number > 8:
                break
        self._wait()
        compiling = time.perf_counter() - start
        rate = self._time(lambda: [step(*inputs) for inputs in batches.inputs()], seconds)
        return rate, compiling

    def profile(self, batch_size: int, graphs: bool, steps: int = 20) -> str:
        """Return torch's table of the operations of some steps."""
        trainer, batches = self._trainer(batch_size, graphs)
        step = trainer.make_step(batches.to_batch)
        inputs = next(iter(batches.inputs()))
        for _ in range(8):
            step(*inputs)
        self._wait()
        is_cuda = self.device.type == "cuda"
        kinds = [torch.profiler.ProfilerActivity.CPU]
        kinds += [torch.profiler.ProfilerActivity.CUDA] if is_cuda else []
        with torch.profiler.profile(activities=kinds) as profiler:
            for _ in range(steps):
                step(*inputs)
            self._wait()
        key = "self_cuda_time_total" if is_cuda else "self_cpu_time_total"
        return str(
            profiler.key_averages().table(sort_by=key, row_limit=25, max_name_column_width=60)
        )

    def _trainer(self, batch_size: int, graphs: bool) -> tuple[Trainer, Batches]:
        torch.manual_seed(0)
        batches = Batches(self.dataset, batch_size, device=self.device)
        trainer = Trainer(
            build_model(self.architecture),
            self.dataset.objective,
            self._recipe(batch_size, 1e-3, 0),
            1_000_000,
            ComputeConfig(self.device, graphs=graphs),
        )
        trainer.module.train()
        return trainer, batches

    def _time(self, epoch: Callable[[], object], seconds: float) -> float:
        epoch()
        self._wait()
        epochs, start = 0, time.perf_counter()
        while not epochs or time.perf_counter() - start < seconds:
            epoch()
            self._wait()
            epochs += 1
        return self.rows * epochs / (time.perf_counter() - start)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _recipe(self, batch_size: int, lr: float, seed: int) -> AdamWRecipe:
        return AdamWRecipe(
            metric="accuracy",
            seed=seed,
            epochs=self.epochs,
            lr=lr,
            weight_decay=0.01,
            batch_size=batch_size,
            patience=self.epochs,
        )


def equal_weights(first: nn.Module, second: nn.Module) -> bool:
    """Return whether two models have the same weights, bit by bit."""
    states: list[dict[str, Tensor]] = [first.state_dict(), second.state_dict()]
    return all(torch.equal(value.cpu(), states[1][name].cpu()) for name, value in states[0].items())


def best_single(run: Run, rate: float) -> Run:
    """Return the run with one learning rate and one seed."""
    return replace(run, rates=(rate,), seeds=1)


def without_capture(function: Callable[[], Tensor], stream: object) -> Callable[[], Tensor]:
    """Stand for the capture of a graph on a machine without a GPU."""
    return function
