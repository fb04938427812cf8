"""Run a comparison, from the features to the report.

columns → dataset → grid → trials in processes → leaderboard → winner → report
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.storage import files, lock_directory
from mmfeat.store import (
    MANIFEST_FILE,
    check_output,
    finished_manifest,
    json_digest,
    open_run,
    record_file,
    write_manifest,
)
from mmfeat.system import print_err, print_out
from training.columns import choose_columns
from training.compare.config import CompareConfig
from training.compare.emap import read_emap_score
from training.compare.grid import ModelSpec, build_grid
from training.compare.leaderboard import (
    LEADERBOARD,
    ModelResults,
    build_leaderboard,
    show_leaderboard,
    write_leaderboard,
)
from training.compare.schedule import Outcome, train_grid
from training.compare.train_trials import (
    is_minimized,
    model_folder,
    resolve_trial,
    train_config,
    trial_folders,
)
from training.compare.trials import (
    best_seed,
    list_documents,
    read_model,
    read_predictions,
    read_trial,
)
from training.config import RunOptions
from training.data import SPLITS, TEST, TRAIN, VAL, Dataset
from training.fit.fit_result import FitResult
from training.fit.resolve import ResolvedRun, open_dataset
from training.fit.saving.save_model import save_best
from training.report import REPORT, write_compare_report


def compare(config: CompareConfig) -> None:
    """Compare models; write the leaderboard, the winner and the report.

    Raises:
        MmfeatError: the features do not fit the options, the test split is empty, or the output
            holds a different comparison.
    """
    with lock_directory(config.output):
        _compare(config)


def _compare(config: CompareConfig) -> None:
    check_output(config.output, "comparison")
    torch.set_num_threads(1)
    store = FeatureStore(config.features)
    columns = choose_columns(store, config.modalities)
    specs, left_out = build_grid(columns, config.fusions, config.combinations, config.task)
    # Only the training processes keep the features in memory.
    access = RunOptions(access="blocks", precision="float32")
    dataset = open_dataset(replace(train_config(config, specs[0], 0), run=access), store, columns)
    if not len(dataset.split_rows[TEST]):
        raise MmfeatError(
            f"compare needs rows in the split {TEST!r} (split: {dataset.rule})",
            got=0,
            cure="Use --split-column to name a column with the values train, val and test",
        )
    specs, unusable = _split_by_usable_rows(specs, dataset)
    left_out |= unusable
    resolved_runs = {spec.name: resolve_trial(config, store, dataset, spec) for spec in specs}
    settings = _settings(config, specs, resolved_runs, not is_minimized(config, dataset))
    details = {"columns": {column.name: column.facts for column in columns}}
    config_hash = open_run(config.output, "comparison", settings, details)
    if finished := finished_manifest(config.output, config_hash):
        if not finished.get("failed") and not finished.get("missing"):
            print_out(f"{config.output} already holds this comparison; nothing to do")
            for name, file in (("leaderboard", LEADERBOARD), ("report", REPORT)):
                print_out(f"{name}: {files.join(config.output, file)}")
            print_out(f"winner: {finished['winner']['model']}")
            return
        files.remove(files.join(config.output, MANIFEST_FILE))
    for name, reason in left_out.items():
        print_err(f"mmfeat: left out {name}: {reason}")
    outcome = train_grid(config, specs)
    results = _read_all_results(config, specs, outcome)
    metric = resolved_runs[specs[0].name].recipes[0].metric
    rows = build_leaderboard(results, dataset, metric, config.pick)
    winner = next(r for r, row in zip(results, rows, strict=True) if row.picked)
    model = _write_winner(config, store, dataset, winner)
    rows.sort(key=lambda row: -dataset.objective.maximized(metric, row.mean))
    write_leaderboard(config.output, rows)
    report = write_compare_report(config.output, outcome.missing)
    entries: dict[str, Any] = {"failed": outcome.failed, "missing": outcome.missing}
    if outcome.missing:
        entries["time_limit"] = config.time_limit
    documents = [LEADERBOARD, *list_documents(config.output)]
    write_manifest(
        config.output,
        "comparison",
        config_hash,
        files={name: record_file(files.join(config.output, name)) for name in documents},
        winner={"name": winner.spec.name, "model": model},
        systems=len(results),
        left_out=left_out,
        **{name: value for name, value in entries.items() if value},
        rows={split: len(dataset.split_rows[split]) for split in SPLITS},
        torch=torch.__version__,
    )
    missing = sum(map(len, outcome.missing.values()))
    show_leaderboard(rows, metric, dataset, config, missing)
    _print_empty_rows(dataset)
    _print_missing(outcome)
    print_out(f"report: {report}")
    print_out(f"winner: {model}")


def _read_all_results(
    config: CompareConfig, specs: Sequence[ModelSpec], outcome: Outcome
) -> list[ModelResults]:
    """Read the results of the models with a finished trial, and print why others failed.

    Raises:
        MmfeatError: there is none.
    """
    for name, reason in outcome.failed.items():
        print_err(f"mmfeat: {name} failed: {reason}. Run the same command again to train it")
    kept = [spec for spec in specs if spec.name not in outcome.failed]
    results = [result for spec in kept if (result := _read_results(config, spec))]
    if not results and outcome.missing:
        raise MmfeatError(
            "no trial was finished within --time-limit",
            got=f"{config.time_limit:g} seconds",
            cure="Run the same command again with a longer limit or none",
        )
    if not results:
        raise MmfeatError(
            f"all {len(specs)} models failed; finished trials are kept",
            cure="Run the same command again, with --workers 1 or more memory",
        )
    return results


def _print_missing(outcome: Outcome) -> None:
    """Print which trials the time limit has left out."""
    if outcome.missing:
        names = (f"{name} (seeds {', '.join(map(str, s))})" for name, s in outcome.missing.items())
        print_out(f"The time limit left out {', '.join(names)}")
        print_out("Run the same command without --time-limit, or with a longer one, to train them")


def _split_by_usable_rows(
    specs: Sequence[ModelSpec], dataset: Dataset
) -> tuple[list[ModelSpec], dict[str, str]]:
    """Return the models that some training and validation rows can be used for; others by name."""
    usable: list[ModelSpec] = []
    left_out: dict[str, str] = {}
    for spec in specs:
        rows = dataset.select_columns(spec.modalities).drop_empty_rows(TRAIN, VAL).split_rows
        empty = [split for split in (TRAIN, VAL) if not len(rows[split])]
        if empty:
            left_out[spec.name] = f"no {empty[0]} row has {' or '.join(spec.modalities)}"
        else:
            usable.append(spec)
    return usable, left_out


def _print_empty_rows(dataset: Dataset) -> None:
    """Print how many test rows lack each column."""
    test = dataset.split_rows[TEST]
    for name, mask in dataset.present.items():
        if lacking := int((~mask[test]).sum()):
            print_out(
                f"{lacking:,} of {len(test):,} test rows lack {name}: the models of {name} alone "
                "predict them without features"
            )


def _settings(
    config: CompareConfig,
    specs: Sequence[ModelSpec],
    resolved_runs: Mapping[str, ResolvedRun],
    higher_is_better: bool,
) -> dict[str, Any]:
    """Return the settings that determine the leaderboard, except for the speeds."""
    shared = resolved_runs[specs[0].name].config
    names = ("target", "task", "classes", "null_labels", "split", "features", "metric")
    options = asdict(config)
    return {
        **{name: shared[name] for name in names if name in shared},
        **{name: options[name] for name in ("seeds", "pick", "emap_rows", "layers", "recipe")},
        "higher_is_better": higher_is_better,
        "systems": {spec.name: json_digest(resolved_runs[spec.name].config) for spec in specs},
    }


def _read_results(config: CompareConfig, spec: ModelSpec) -> ModelResults | None:
    """Read the finished trials of a model; None if there is none."""
    found = [(path, read_trial(path)) for path in trial_folders(config, spec)]
    trials = {path: trial for path, trial in found if trial is not None}
    if not trials:
        return None
    return ModelResults(
        spec=spec,
        folders=[*trials],
        trials=[*trials.values()],
        val=np.stack([read_predictions(folder, VAL) for folder in trials]),
        test=np.stack([read_predictions(folder, TEST) for folder in trials]),
        emap_score=read_emap_score(model_folder(config, spec)),
    )


def _write_winner(
    config: CompareConfig, store: FeatureStore, dataset: Dataset, results: ModelResults
) -> str:
    """Write the seed that is best on validation, as `mmfeat train` would; return its folder."""
    spec, minimized = results.spec, is_minimized(config, dataset)
    best = best_seed(results.trials, minimized=minimized)
    trial, trial_folder = results.trials[best], results.folders[best]
    seed = int(trial_folder.rpartition("/")[2])
    resolved = resolve_trial(config, store, dataset, spec, seed, trial)
    module = read_model(trial_folder, resolved)
    folder = files.join(config.output, "winner")
    files.remove(folder)  # of an earlier run without the models that failed in it
    fitted = FitResult(module, resolved.recipes[0], trial.epoch, trial.log, minimized)
    config_hash = open_run(folder, "model", resolved.config)
    # The comparison scores all models on the same rows. This model alone cannot score the rows
    # that have none of its columns.
    scorable = dataset.select_columns(spec.modalities).drop_empty_rows(VAL, TEST)
    save_best(folder, config_hash, store, scorable, [fitted], {})
    return folder
