"""Make a comparison, from the features to the page.

columns → data → systems → cells in processes → standings → leaderboard → winner → report
"""

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from mmfeat.store import files
from mmfeat.store.directory import MANIFEST, claim, digest, exclusive, write_manifest
from mmfeat.system.console import Bar, note, say
from mmfeat.system.threads import end_with_parent
from training.compare.config import CompareConfig
from training.compare.interaction import measure_interaction, read_interaction, write_interaction
from training.compare.leaderboard import Line, make_leaderboard, show_leaderboard, write_leaderboard
from training.compare.systems import System, systems_of
from training.compare.trials import (
    best_seed,
    read_cell,
    read_cells,
    read_module,
    read_predictions,
    train_cell,
)
from training.config import ModelOptions, RunOptions, TrainConfig
from training.data.dataset import Dataset
from training.data.splits import SPLITS, TEST, VAL
from training.fit.fit_result import Fitted
from training.fit.resolve import Plan, choose_columns, open_dataset, plan_training
from training.fit.train_model import finish_model
from training.report import write_compare_report


def compare(config: CompareConfig) -> None:
    """Compare, and write the leaderboard, the winner and the page.

    Raises:
        MmfeatError: the features lack what the options name, there are no test rows, or the output
            holds another comparison.
    """
    with exclusive(config.output):
        _compare(config)


def _compare(config: CompareConfig) -> None:
    torch.set_num_threads(1)
    store = FeatureStore(config.features)
    columns = choose_columns(store, config.modalities)
    systems, left_out = systems_of(columns, config.fusions, config.combinations, config.task)
    own = replace(
        train_config(config, systems[0], 0), run=RunOptions(access="blocks", precision="float32")
    )
    dataset = open_dataset(own, store, columns)  # features in memory are for the workers
    if not len(dataset.parts[TEST]):
        raise MmfeatError(
            f"a comparison needs rows of the split {TEST!r} (split: {dataset.rule})",
            got=0,
            cure="Name the column that says train, val or test with --split-column",
        )
    plans = {system.name: _plan(config, store, dataset, system) for system in systems}
    facts = _claim(config, systems, plans, not _falls(config, dataset))
    config_hash = claim(config.output, "comparison", facts)
    if files.exists(files.join(config.output, MANIFEST)):
        say(f"{config.output} holds this comparison already; nothing to do")
        return
    for fusion, why in left_out.items():
        note(f"mmfeat: left out: {fusion}: {why}")
    _train_all(config, systems)
    lines = [_line(config, system) for system in systems]
    metric = plans[systems[0].name].recipes[0].metric
    rows = make_leaderboard(lines, dataset, metric, config.pick)
    winner = next(line for line, row in zip(lines, rows, strict=True) if row.picked)
    model = _write_winner(config, store, dataset, winner)
    rows.sort(key=lambda row: -dataset.objective.better(metric, row.mean))
    write_leaderboard(config.output, rows)
    write_manifest(
        config.output,
        "comparison",
        config_hash,
        winner={"name": winner.system.name, "model": model},
        systems=len(systems),
        left_out=left_out,
        rows={split: len(dataset.parts[split]) for split in SPLITS},
        torch=torch.__version__,
    )
    show_leaderboard(rows, metric, dataset, config)
    say(f"the page: {write_compare_report(config.output)}; the winner: {model}")


def _line(config: CompareConfig, system: System) -> Line:
    folders = cell_folders(config, system)
    interaction = read_interaction(system_folder(config, system))
    assert interaction is not None
    return Line(
        system=system,
        cells=read_cells(folders),
        val=np.stack([read_predictions(folder, VAL) for folder in folders]),
        test=np.stack([read_predictions(folder, TEST) for folder in folders]),
        interaction=interaction,
    )


def _write_winner(config: CompareConfig, store: FeatureStore, dataset: Dataset, line: Line) -> str:
    """The seed that is best on validation, as `mmfeat train` would have written it."""
    falls = _falls(config, dataset)
    seed = best_seed(line.cells, falls=falls)
    cell = line.cells[seed]
    plan = _plan(config, store, dataset, line.system, seed, cell.choice)
    module = read_module(cell_folders(config, line.system)[seed], plan)
    folder = files.join(config.output, "winner")
    fitted = Fitted(module, plan.recipes[0], cell.epoch, cell.log, falls)
    config_hash = claim(folder, "model", plan.claim)
    finish_model(folder, config_hash, store, dataset.only(line.system.modalities), [fitted], {})
    return folder


def train_config(
    config: CompareConfig, system: System, seed: int, choice: Mapping[str, float] | None = None
) -> TrainConfig:
    """The options of `mmfeat train` that make one cell."""
    chosen: dict[str, Any] = dict(choice or {})
    return TrainConfig(
        features=config.features,
        output=files.join(config.output, "winner"),
        target=config.target,
        task=config.task,
        label_separator=config.label_separator,
        modalities=",".join(system.modalities),
        seed=seed,
        split=config.split,
        model=ModelOptions(
            **asdict(config.layers), fusion=system.fusion, combination=system.combination
        ),
        recipe=replace(config.recipe, **chosen),
        run=RunOptions(access=config.data.access, precision="float32"),
    )


def system_folder(config: CompareConfig, system: System) -> str:
    """Where the cells of a system are kept."""
    return files.join(config.output, "cells", system.folder)


def cell_folders(config: CompareConfig, system: System) -> list[str]:
    """Where each seed's cell is kept."""
    home = system_folder(config, system)
    return [files.join(home, str(seed)) for seed in system.seeds(config.seeds)]


def _plan(
    config: CompareConfig,
    store: FeatureStore,
    dataset: Dataset,
    system: System,
    seed: int = 0,
    choice: Mapping[str, float] | None = None,
) -> Plan:
    columns = [store.columns[name] for name in store.columns if name in system.modalities]
    return plan_training(
        train_config(config, system, seed, choice), store, columns, dataset.only(system.modalities)
    )


def _claim(
    config: CompareConfig, systems: Sequence[System], plans: Mapping[str, Plan], higher: bool
) -> dict[str, Any]:
    """All that determines the leaderboard, but for speeds."""
    shared = plans[systems[0].name].claim
    names = ("target", "task", "classes", "split", "features", "metric")
    options = asdict(config)
    return {
        **{name: shared[name] for name in names if name in shared},
        **{name: options[name] for name in ("seeds", "pick", "emap_rows", "layers", "recipe")},
        "higher_is_better": higher,
        "systems": {system.name: digest(plans[system.name].claim) for system in systems},
    }


def _train_all(config: CompareConfig, systems: Sequence[System]) -> None:
    """Train every cell that is not there, a system a process; with one worker in this process.

    Raises:
        MmfeatError: a process was killed; what is finished stays.
    """
    total = sum(len(system.seeds(config.seeds)) for system in systems)
    done = 0
    if config.workers == 1:
        with Bar("compare", total, "trainings") as bar:
            for system in systems:
                train_system(config, system)
                done += len(system.seeds(config.seeds))
                bar.at(done)
        return
    with _pool(config, len(systems)) as pool, Bar("compare", total, "trainings") as bar:
        made = {pool.submit(train_system, config, system): system for system in systems}
        try:
            for future in as_completed(made):
                future.result()
                done += len(made[future].seeds(config.seeds))
                bar.at(done)
        except BrokenProcessPool as error:
            raise MmfeatError(
                "a process that trained was killed (out of memory?); what is finished is kept",
                cure="Run the same command again, perhaps with fewer --workers",
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _pool(config: CompareConfig, most: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    # Optimisers import the second on their first use, which takes longer than many a training.
    context.set_forkserver_preload(["training.compare.run", "torch._dynamo"])
    workers = min(config.workers or os.cpu_count() or 1, most)
    # A process for each system, so that its peak memory is its own.
    return ProcessPoolExecutor(workers, context, initializer=_begin, max_tasks_per_child=1)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command's own process tells when to stop
    end_with_parent()
    torch.set_num_threads(1)


def train_system(config: CompareConfig, system: System) -> None:
    """Train a system with every seed, in turn, and measure what it owes to interaction.

    The first seed chooses the learning rate, or the penalty, for all.
    """
    folders = cell_folders(config, system)
    home = system_folder(config, system)
    if read_interaction(home) is not None:
        return
    store = FeatureStore(config.features)
    columns = choose_columns(store, config.modalities)
    dataset = open_dataset(train_config(config, system, 0), store, columns, quiet=True)
    own = dataset.only(system.modalities)
    for seed, folder in enumerate(folders):
        if read_cell(folder) is None:
            first = read_cell(folders[0]) if seed else None
            plan = _plan(config, store, dataset, system, seed, first.choice if first else None)
            train_cell(folder, plan, own)
    cells = read_cells(folders)
    best = best_seed(cells, falls=_falls(config, dataset))
    plan = _plan(config, store, dataset, system, best, cells[best].choice)
    module = read_module(folders[best], plan)
    metric = plan.recipes[0].metric
    write_interaction(home, measure_interaction(module, own, metric, config.emap_rows))


def _falls(config: CompareConfig, dataset: Dataset) -> bool:
    objective = dataset.objective
    return (config.recipe.metric or objective.metrics[0]) in objective.falling
