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
from training.compare.train_trials import (
    is_minimized,
    model_folder,
    resolve_trial,
    train_config,
    train_grid,
    trial_folders,
)
from training.compare.trials import best_seed, read_model, read_predictions, read_trials
from training.config import RunOptions
from training.data import SPLITS, TEST, TRAIN, VAL, Dataset
from training.fit.fit_result import FitResult
from training.fit.resolve import ResolvedRun, open_dataset
from training.fit.save_model import save_best
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
        if not finished.get("failed"):
            print_out(f"{config.output} already holds this comparison; nothing to do")
            for name, file in (("leaderboard", LEADERBOARD), ("report", REPORT)):
                print_out(f"{name}: {files.join(config.output, file)}")
            print_out(f"winner: {finished['winner']['model']}")
            return
        files.remove(files.join(config.output, MANIFEST_FILE))
    for name, reason in left_out.items():
        print_err(f"mmfeat: left out {name}: {reason}")
    failed = train_grid(config, specs)
    specs = _leave_out_failed(specs, failed)
    results = [_read_results(config, spec) for spec in specs]
    metric = resolved_runs[specs[0].name].recipes[0].metric
    rows = build_leaderboard(results, dataset, metric, config.pick)
    winner = next(r for r, row in zip(results, rows, strict=True) if row.picked)
    model = _write_winner(config, store, dataset, winner)
    rows.sort(key=lambda row: -dataset.objective.maximized(metric, row.mean))
    write_leaderboard(config.output, rows)
    report = write_compare_report(config.output)
    write_manifest(
        config.output,
        "comparison",
        config_hash,
        files={LEADERBOARD: record_file(files.join(config.output, LEADERBOARD))},
        winner={"name": winner.spec.name, "model": model},
        systems=len(specs),
        left_out=left_out,
        **({"failed": failed} if failed else {}),
        rows={split: len(dataset.split_rows[split]) for split in SPLITS},
        torch=torch.__version__,
    )
    show_leaderboard(rows, metric, dataset, config)
    _print_empty_rows(dataset)
    print_out(f"report: {report}")
    print_out(f"winner: {model}")


def _leave_out_failed(specs: Sequence[ModelSpec], failed: Mapping[str, str]) -> list[ModelSpec]:
    """Return the models that are trained, and print why the others failed.

    Raises:
        MmfeatError: all models failed.
    """
    for name, reason in failed.items():
        print_err(f"mmfeat: {name} failed: {reason}. Run the same command again to train it")
    if len(failed) == len(specs):
        raise MmfeatError(
            f"all {len(specs)} models failed; finished trials are kept",
            cure="Run the same command again, with --workers 1 or more memory",
        )
    return [spec for spec in specs if spec.name not in failed]


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


def _read_results(config: CompareConfig, spec: ModelSpec) -> ModelResults:
    folders = trial_folders(config, spec)
    emap_score = read_emap_score(model_folder(config, spec))
    assert emap_score is not None
    return ModelResults(
        spec=spec,
        trials=read_trials(folders),
        val=np.stack([read_predictions(folder, VAL) for folder in folders]),
        test=np.stack([read_predictions(folder, TEST) for folder in folders]),
        emap_score=emap_score,
    )


def _write_winner(
    config: CompareConfig, store: FeatureStore, dataset: Dataset, results: ModelResults
) -> str:
    """Write the seed that is best on validation, as `mmfeat train` would; return its folder."""
    spec, minimized = results.spec, is_minimized(config, dataset)
    seed = best_seed(results.trials, minimized=minimized)
    trial = results.trials[seed]
    resolved = resolve_trial(config, store, dataset, spec, seed, trial.choice)
    module = read_model(trial_folders(config, spec)[seed], resolved)
    folder = files.join(config.output, "winner")
    files.remove(folder)  # of an earlier run without the models that failed in it
    fitted = FitResult(module, resolved.recipes[0], trial.epoch, trial.log, minimized)
    config_hash = open_run(folder, "model", resolved.config)
    # The comparison scores all models on the same rows. This model alone cannot score the rows
    # that have none of its columns.
    scorable = dataset.select_columns(spec.modalities).drop_empty_rows(VAL, TEST)
    save_best(folder, config_hash, store, scorable, [fitted], {})
    return folder
