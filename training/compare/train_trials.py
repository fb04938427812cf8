"""Train one trial: a model with one seed, from the options of the comparison."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.storage import files
from training.columns import choose_columns
from training.compare.config import CompareConfig
from training.compare.emap import (
    read_emap_score,
    remove_emap_score,
    score_projection,
    write_emap_score,
)
from training.compare.grid import ModelSpec
from training.compare.trials import (
    TRIALS,
    Trial,
    best_seed,
    has_trial,
    read_model,
    read_trial,
    read_trials,
    run_trial,
)
from training.config import ModelOptions, RunOptions, TrainConfig
from training.data import Dataset
from training.fit.resolve import ResolvedRun, open_dataset, resolve_run


class TimeLimitError(MmfeatError):
    """The time limit was reached before the end of a trial, of which nothing is kept."""


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
    return files.join(config.output, TRIALS, spec.folder)


def trial_folders(config: CompareConfig, spec: ModelSpec) -> list[str]:
    """Return the folder of each trial of a model."""
    folder = model_folder(config, spec)
    return [files.join(folder, str(seed)) for seed in spec.seeds(config.seeds)]


def is_minimized(config: CompareConfig, dataset: Dataset) -> bool:
    """Return whether a lower value of the comparison's metric is better."""
    objective = dataset.objective
    return (config.recipe.metric or objective.metrics[0]) in objective.minimized


def train_trial(
    config: CompareConfig, spec: ModelSpec, seed: int, deadline: float | None = None
) -> Trial:
    """Run one trial, unless it is finished. The last one measures the model's interaction.

    The first seed chooses the learning rate or the penalty for all seeds, so it must be finished
    before the others start.

    Args:
        config: options of the comparison.
        spec: the model.
        seed: the seed of the trial.
        deadline: time of `time.monotonic`, which all processes share, at which to give up; None =
            never.

    Raises:
        TimeLimitError: the deadline was reached.
    """
    check_deadline = _deadline_check(deadline)
    check_deadline()
    folder, folders = model_folder(config, spec), trial_folders(config, spec)
    store = FeatureStore(config.features)
    columns = choose_columns(store, config.modalities)
    all_columns = open_dataset(train_config(config, spec, 0), store, columns, quiet=True)
    dataset = all_columns.select_columns(spec.modalities)
    trial = read_trial(folders[seed])
    if trial is None:
        remove_emap_score(folder)  # of an earlier run that ended before this trial
        first = read_trial(folders[0]) if seed else None
        choice = first.choice if first else None
        resolved = resolve_trial(config, store, all_columns, spec, seed, choice)
        trial = run_trial(folders[seed], resolved, dataset, check_deadline)
    if read_emap_score(folder) is None and all(map(has_trial, folders)):
        _measure_interaction(config, store, all_columns, spec)
    return trial


def _deadline_check(deadline: float | None) -> Callable[[], None]:
    def check() -> None:
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeLimitError("the time limit was reached before the end of a trial")

    return check


def _measure_interaction(
    config: CompareConfig, store: FeatureStore, all_columns: Dataset, spec: ModelSpec
) -> None:
    """Measure the cross-modal interaction of the seed that is best on validation."""
    folders = trial_folders(config, spec)
    trials = read_trials(folders)
    if len(trials) < len(folders):
        return  # another process has found a damaged trial
    dataset = all_columns.select_columns(spec.modalities)
    best = best_seed(trials, minimized=is_minimized(config, dataset))
    resolved = resolve_trial(config, store, all_columns, spec, best, trials[best].choice)
    model = read_model(folders[best], resolved)
    metric = resolved.recipes[0].metric
    score = score_projection(model, dataset, metric, config.emap_rows)
    write_emap_score(model_folder(config, spec), score)
