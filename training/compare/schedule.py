"""Run the trials of a comparison in processes: order, failures, and the time limit."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.store import has_unfinished, mark_unfinished
from mmfeat.system import WorkerDiedError, WorkerPool, WorkerStartError, worker_pool
from training.compare.config import CompareConfig
from training.compare.emap import read_emap_score
from training.compare.grid import ModelSpec, input_spec
from training.compare.progress import TrialProgress
from training.compare.train_trials import (
    TimeLimitError,
    model_folder,
    train_trial,
    trial_folders,
)
from training.compare.trials import Trial, read_trial

_log = logging.getLogger("mmfeat")


class TrialId(NamedTuple):
    """One trial: a model and a seed."""

    spec: ModelSpec
    seed: int


@dataclass
class Outcome:
    """What became of the trials that are not finished. Finished trials are kept.

    Attributes:
        failed: name of each model that failed → reason.
        missing: name of each other model → seeds that the time limit has left out.
    """

    failed: dict[str, str] = field(default_factory=dict)
    missing: dict[str, list[int]] = field(default_factory=dict)


def train_grid(config: CompareConfig, specs: Sequence[ModelSpec]) -> Outcome:
    """Run all unfinished trials, one per process; with one worker, in this process.

    The first seeds of all models come before the others. If a process dies, its trial runs again
    after the others, without another one beside it. If that process dies too, the model has failed.
    A model has also failed if its training raises an error, except one of a file or a disk: others
    would meet it, too.
    """
    limit = config.time_limit
    deadline = None if limit is None else time.monotonic() + limit
    finished = {spec: _finished_trials(config, spec) for spec in specs}
    with TrialProgress(specs, config.seeds) as progress:
        for spec, trials in finished.items():
            for seed, trial in trials.items():
                progress.show(spec, seed, trial, is_new=False)
        runner = _Runner(config, finished, progress.show, deadline)
        runner.run()
    failed = runner.failed
    missing = {
        spec.name: [seed for seed in spec.seeds(config.seeds) if seed not in finished[spec]]
        for spec in specs
        if spec not in failed
    }
    return Outcome(
        {spec.name: reason for spec, reason in failed.items()},
        {name: seeds for name, seeds in missing.items() if seeds},
    )


def _finished_trials(config: CompareConfig, spec: ModelSpec) -> dict[int, Trial]:
    trials = {seed: read_trial(path) for seed, path in enumerate(trial_folders(config, spec))}
    return {seed: trial for seed, trial in trials.items() if trial is not None}


class _Runner:
    """Runs trials and collects what becomes of them.

    Args:
        config: options of the comparison.
        finished: model → its finished trials by seed; grows.
        show: called with each trial that is finished.
        deadline: see `train_trial`.
    """

    def __init__(
        self,
        config: CompareConfig,
        finished: dict[ModelSpec, dict[int, Trial]],
        show: Callable[[ModelSpec, int, Trial], None],
        deadline: float | None,
    ) -> None:
        self._config, self._finished, self._show = config, finished, show
        self._deadline = deadline
        self._was_killed = has_unfinished(config.output)
        self._starts_next = False
        self.failed: dict[ModelSpec, str] = {}

    def run(self) -> None:
        """Run all trials. The networks that choose the inputs of others come before these."""
        self._run_all([trial for trial in self._first_trials() if self._is_early(trial)])
        self._starts_next = True
        rest = [trial for trial in self._first_trials() if trial.spec not in self.failed]
        self._run_all(sorted(rest, key=lambda trial: trial.seed))

    def _run_all(self, trials: list[TrialId]) -> None:
        if self._config.workers == 1 and not self._was_killed:
            self._run_here(trials)
            return
        died = self._run_in_workers(trials, self._config.workers or os.cpu_count() or 1)
        died = self._run_in_workers([*died], 1)
        self.failed |= {trial.spec: reason for trial, reason in died.items()}

    def _is_early(self, trial: TrialId) -> bool:
        spec = trial.spec
        chooses = input_spec(spec.modalities[0], self._config.combinations)
        return spec.is_linear or (spec == chooses and trial.seed == 0)

    def _run_here(self, queue: list[TrialId]) -> None:
        """Run trials one after another in this process."""
        for trial in queue:  # grows in the loop
            with mark_unfinished(self._config.output, trial.spec.folder), self._record(trial):
                self._end(trial, train_trial(self._config, *trial, self._deadline))
                queue += self._next_trials(trial)

    def _run_in_workers(self, queue: list[TrialId], workers: int) -> dict[TrialId, str]:
        """Run trials in worker processes; return those whose process died: trial → reason."""
        died: dict[TrialId, str] = {}
        if not queue:
            return died
        with _start_pool(workers) as pool:
            try:
                futures = {self._submit(pool, trial): trial for trial in queue}
                while futures:
                    done = wait(futures, self._remaining(), FIRST_COMPLETED).done
                    if not done:  # the time limit
                        pool.kill()
                        break
                    for future in done:
                        trial = futures.pop(future)
                        with self._record(trial):
                            try:
                                self._end(trial, future.result())
                            except WorkerDiedError as error:
                                died[trial] = str(error)
                                continue
                            further = self._next_trials(trial)
                            futures |= {self._submit(pool, other): other for other in further}
            except BaseException:
                pool.kill()  # half of a trial is worth nothing, and a whole one may take minutes
                raise
        return died

    def _remaining(self) -> float | None:
        """Return the seconds until the deadline; None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _submit(self, pool: WorkerPool, trial: TrialId) -> "Future[Trial]":
        return pool.submit(train_trial, self._config, *trial)

    def _first_trials(self) -> list[TrialId]:
        """Return the first unfinished trial of each model."""
        queue = []
        for spec in self._finished:
            unfinished = self._unfinished(spec)
            if 0 in unfinished:
                queue.append(TrialId(spec, 0))
            elif unfinished:
                queue += [TrialId(spec, seed) for seed in unfinished]
            elif read_emap_score(model_folder(self._config, spec)) is None:
                queue.append(TrialId(spec, 0))  # which measures the interaction only
        return queue

    def _next_trials(self, trial: TrialId) -> list[TrialId]:
        """Return the trials that may start after this one, if it is the first of its model."""
        if trial.seed or not self._starts_next:
            return []
        return [TrialId(trial.spec, seed) for seed in self._unfinished(trial.spec)]

    def _unfinished(self, spec: ModelSpec) -> list[int]:
        seeds = spec.seeds(self._config.seeds)
        return [seed for seed in seeds if seed not in self._finished[spec]]

    def _end(self, trial: TrialId, result: Trial) -> None:
        self._finished[trial.spec][trial.seed] = result
        self._show(trial.spec, trial.seed, result)

    @contextmanager
    def _record(self, trial: TrialId) -> Iterator[None]:
        """Record an error of one trial as the reason why its model failed."""
        try:
            yield
        except (OSError, DamagedFileError, WorkerDiedError, WorkerStartError):
            raise
        except TimeLimitError:
            _log.debug("%s has reached the time limit", trial.spec.name)
        except Exception as error:
            _log.debug("the training of %s failed", trial.spec.name, exc_info=True)
            is_own = isinstance(error, MmfeatError)
            self.failed[trial.spec] = str(error) if is_own else f"{type(error).__name__}: {error}"


def _start_pool(workers: int) -> WorkerPool:
    return worker_pool(
        workers,
        # Optimizers import torch._dynamo on first use, which takes longer than many trainings.
        preload=[train_trial.__module__, "torch._dynamo"],
        initializer=torch.set_num_threads,
        initargs=(1,),
        # Each process trains one model, so that its peak memory is that of the model.
        worker_per_task=True,
    )
