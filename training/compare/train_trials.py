"""Train the trials of every model, one model per process."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.storage import files
from mmfeat.store import has_unfinished, mark_unfinished
from mmfeat.system import ProgressBar, WorkerDiedError, WorkerPool, WorkerStartError, worker_pool
from training.columns import choose_columns
from training.compare.config import CompareConfig
from training.compare.emap import read_emap_score, score_projection, write_emap_score
from training.compare.grid import ModelSpec
from training.compare.trials import best_seed, read_model, read_trial, read_trials, run_trial
from training.config import ModelOptions, RunOptions, TrainConfig
from training.data import Dataset
from training.fit.resolve import ResolvedRun, open_dataset, resolve_run

_log = logging.getLogger("mmfeat")


def train_config(
    config: CompareConfig, spec: ModelSpec, seed: int, choice: Mapping[str, float] | None = None
) -> TrainConfig:
    """Return the `mmfeat train` options of one trial.

    Args:
        config: options of the comparison.
        spec: the model.
        seed: the seed of the trial.
        choice: the learning rate or penalty to use; None = try all of the recipe.
    """
    recipe_changes: dict[str, Any] = dict(choice or {})
    return TrainConfig(
        features=config.features,
        output=files.join(config.output, "winner"),
        target=config.target,
        task=config.task,
        label_separator=config.label_separator,
        null_labels=config.null_labels,
        modalities=",".join(spec.modalities),
        seed=seed,
        split=config.split,
        model=ModelOptions(
            **asdict(config.layers), fusion=spec.fusion, combination=spec.combination
        ),
        recipe=replace(config.recipe, **recipe_changes),
        run=RunOptions(access=config.data.access, precision="float32"),
    )


def resolve_trial(
    config: CompareConfig,
    store: FeatureStore,
    dataset: Dataset,
    spec: ModelSpec,
    seed: int = 0,
    choice: Mapping[str, float] | None = None,
) -> ResolvedRun:
    """Resolve the options of one trial. Arguments as in `train_config`."""
    columns = [store.columns[name] for name in store.columns if name in spec.modalities]
    return resolve_run(
        train_config(config, spec, seed, choice),
        store,
        columns,
        dataset.select_columns(spec.modalities),
    )


def model_folder(config: CompareConfig, spec: ModelSpec) -> str:
    """Return the folder of a model's trials."""
    return files.join(config.output, "cells", spec.folder)


def trial_folders(config: CompareConfig, spec: ModelSpec) -> list[str]:
    """Return the folder of each trial of a model."""
    folder = model_folder(config, spec)
    return [files.join(folder, str(seed)) for seed in spec.seeds(config.seeds)]


def is_minimized(config: CompareConfig, dataset: Dataset) -> bool:
    """Return whether a lower value of the comparison's metric is better."""
    objective = dataset.objective
    return (config.recipe.metric or objective.metrics[0]) in objective.minimized


def train_grid(config: CompareConfig, specs: Sequence[ModelSpec]) -> dict[str, str]:
    """Run all unfinished trials, one model per process; with one worker, in this process.

    If a process dies, its model is trained again after the others, without another model beside
    it. If that process dies too, the model has failed. A model has also failed if its training
    raises an error, except one of a file or a disk: others would meet it, too.

    Returns:
        The models that failed: name → reason. Their finished trials are kept.
    """
    failed: dict[ModelSpec, str] = {}
    died: dict[ModelSpec, str] = {}
    with ProgressBar(
        "compare", sum(len(spec.seeds(config.seeds)) for spec in specs), "trials"
    ) as bar:
        if config.workers == 1 and not has_unfinished(config.output):
            for spec in specs:
                with mark_unfinished(config.output, spec.folder), _record_error(failed, spec):
                    train_model(config, spec)
                bar.advance(len(spec.seeds(config.seeds)))
        else:
            for workers in (config.workers or os.cpu_count() or 1, 1):
                died = _train_in_workers(config, [*died] or specs, workers, bar, failed)
                if not died:
                    break
    return {spec.name: reason for spec, reason in (failed | died).items()}


@contextmanager
def _record_error(failed: dict[ModelSpec, str], spec: ModelSpec) -> Iterator[None]:
    """Record an error of one model as the reason why it failed."""
    try:
        yield
    except (OSError, DamagedFileError, WorkerDiedError, WorkerStartError):
        raise
    except Exception as error:
        _log.debug("the training of %s failed", spec.name, exc_info=True)
        is_own = isinstance(error, MmfeatError)
        failed[spec] = str(error) if is_own else f"{type(error).__name__}: {error}"


def _train_in_workers(
    config: CompareConfig,
    specs: Sequence[ModelSpec],
    workers: int,
    bar: ProgressBar,
    failed: dict[ModelSpec, str],
) -> dict[ModelSpec, str]:
    """Train models in worker processes; return those whose process died: model → reason.

    Models whose training raises an error are added to `failed`.
    """
    died = {}
    with _start_pool(min(workers, len(specs))) as pool:
        futures = {pool.submit(train_model, config, spec): spec for spec in specs}
        try:
            for future in as_completed(futures):
                spec = futures[future]
                try:
                    with _record_error(failed, spec):
                        future.result()
                except WorkerDiedError as error:
                    died[spec] = str(error)
                else:
                    bar.advance(len(spec.seeds(config.seeds)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return died


def _start_pool(workers: int) -> WorkerPool:
    return worker_pool(
        workers,
        # Optimizers import torch._dynamo on first use, which takes longer than many trainings.
        preload=[__name__, "torch._dynamo"],
        initializer=torch.set_num_threads,
        initargs=(1,),
        # Each process trains one model, so that its peak memory is that of the model.
        worker_per_task=True,
    )


def train_model(config: CompareConfig, spec: ModelSpec) -> None:
    """Run the unfinished trials of a model, then measure its cross-modal interaction.

    The first seed chooses the learning rate or the penalty for all seeds.
    """
    folder, folders = model_folder(config, spec), trial_folders(config, spec)
    if read_emap_score(folder) is not None and len(read_trials(folders)) == len(folders):
        return
    store = FeatureStore(config.features)
    columns = choose_columns(store, config.modalities)
    all_columns = open_dataset(train_config(config, spec, 0), store, columns, quiet=True)
    dataset = all_columns.select_columns(spec.modalities)
    for seed, trial_folder in enumerate(folders):
        if read_trial(trial_folder) is None:
            first = read_trial(folders[0]) if seed else None
            choice = first.choice if first else None
            resolved = resolve_trial(config, store, all_columns, spec, seed, choice)
            run_trial(trial_folder, resolved, dataset)
    trials = read_trials(folders)
    best = best_seed(trials, minimized=is_minimized(config, dataset))
    resolved = resolve_trial(config, store, all_columns, spec, best, trials[best].choice)
    model = read_model(folders[best], resolved)
    metric = resolved.recipes[0].metric
    write_emap_score(folder, score_projection(model, dataset, metric, config.emap_rows))
