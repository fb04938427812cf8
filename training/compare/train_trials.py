"""Train one trial: a model with one seed, from the options of the comparison."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.models.conditioning import InputConditioning
from mmfeat.models.saved_model import layers_to_config
from mmfeat.storage import files
from training.columns import choose_columns
from training.compare.config import CompareConfig
from training.compare.emap import (
    read_emap_score,
    remove_emap_score,
    score_projection,
    write_emap_score,
)
from training.compare.grid import ModelSpec, input_spec
from training.compare.inputs import Inputs, fit_inputs, read_inputs
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
        describe=config.describe,
        run=RunOptions(access=config.data.access, precision="float32"),
    )


def resolve_trial(
    config: CompareConfig,
    store: FeatureStore,
    dataset: Dataset,
    spec: ModelSpec,
    seed: int = 0,
    trial: Trial | None = None,
) -> ResolvedRun:
    """Resolve the options of one trial.

    Args:
        config, store, dataset: the comparison and its data.
        spec, seed: the trial.
        trial: a trial of the model, whose choices to use; None = none.
    """
    columns = [store.columns[name] for name in store.columns if name in spec.modalities]
    resolved = resolve_run(
        train_config(config, spec, seed, trial.choice if trial else None),
        store,
        columns,
        dataset.select_columns(spec.modalities),
    )
    if not trial or not trial.conditioning:
        return resolved
    architecture = replace(resolved.architecture, conditioning=trial.conditioning)
    return replace(
        resolved,
        architecture=architecture,
        config=resolved.config | layers_to_config(architecture),
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

    The first seed chooses the learning rate or the penalty for all seeds, and that of the network
    of one column (`grid.input_spec`) the input of the column for all networks. So these trials must
    be finished before the others start.

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
        config_of_recipes = train_config(config, spec, seed, first.choice if first else None)
        resolved = resolve_run(config_of_recipes, store, dataset.features.columns, dataset)
        inputs = _inputs(config, dataset, spec, seed)
        trial = run_trial(folders[seed], resolved, dataset, inputs, check_deadline)
    if read_emap_score(folder) is None and all(map(has_trial, folders)):
        _measure_interaction(config, store, all_columns, spec)
    return trial


def _inputs(
    config: CompareConfig, dataset: Dataset, spec: ModelSpec, seed: int
) -> Sequence[Inputs]:
    """Return the inputs to try: several for the first network of one column, else what it chose."""
    if spec.is_linear:
        return [{}]
    if seed == 0 and spec == input_spec(spec.modalities[0], config.combinations):
        return fit_inputs(dataset)
    chosen: dict[str, InputConditioning] = {}
    for column in dataset.features.columns:
        first = trial_folders(config, input_spec(column.name, config.combinations))[0]
        if trial := read_trial(first):
            chosen |= read_inputs(column.name, column.dim, trial.conditioning, first)
    return [chosen]


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
    resolved = resolve_trial(config, store, all_columns, spec, best, trials[best])
    model = read_model(folders[best], resolved)
    metric = resolved.recipes[0].metric
    score = score_projection(model, dataset, metric, config.emap_rows)
    write_emap_score(model_folder(config, spec), score)
