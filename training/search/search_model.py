"""Search for the best model of the features, from the features to the saved files."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mmfeat.encoders.neural.runtime import resolve_devices
from mmfeat.features import Column, FeatureStore
from mmfeat.plugins import trust
from mmfeat.storage import lock_directory
from mmfeat.store import check_output, finished_manifest, open_run
from mmfeat.system import peak_memory_mb, print_out
from training.columns import choose_columns
from training.config import TrainConfig
from training.data import SPLITS, TRAIN, Dataset
from training.fit.checkpoint import Checkpoint, remove_checkpoint
from training.fit.device import FLOAT32, ComputeConfig
from training.fit.metrics_log import MetricsLog, format_line
from training.fit.resolve import ResolvedRun, open_dataset, resolve_run
from training.fit.saving.save_model import FinishedModel, check_finite, write_model
from training.fit.train_model import binding
from training.loggers import check_logger
from training.search.candidate import Candidate
from training.search.finalize import (
    build_chosen,
    calibrate,
    chosen_layers,
    evaluate_splits,
    run_splits,
)
from training.search.search import Search
from training.search.selection import choose, describe_fusion
from training.search.summary import candidate_rows, chosen_figures, explain_choice, show_search

_ENSEMBLES = {"fast": 1, "default": 5, "best": 8}


def search_model(config: TrainConfig) -> None:
    """Search, and save the chosen model. A finished model is left as it is.

    Raises:
        MmfeatError: the features lack a column of the options, or the output holds another model.
    """
    check_logger(config.run.logger)
    trust(config.model.combination)
    with lock_directory(config.output):
        _search_model(config)


def _search_model(config: TrainConfig) -> None:
    start = time.perf_counter()
    check_output(config.output, "model")
    torch.set_num_threads(config.run.threads)
    device = resolve_devices(config.run.device)[0]
    store = FeatureStore(config.features)
    columns = choose_columns(store, config.modalities)
    dataset = open_dataset(config, store, columns)
    network = _resolve(config, store, columns, dataset, "gmu")
    settings = _settings(config, network)
    config_hash = open_run(config.output, "model", settings)
    if finished_manifest(config.output, config_hash):
        remove_checkpoint(config.output)
        print_out(f"{config.output} holds this model already; nothing to do")
        return
    checkpoint = Checkpoint(config.output, binding(config, config_hash, device))
    precision = config.run.precision if config.run.precision != "auto" else FLOAT32
    search = Search(config, store, dataset, network, ComputeConfig(device, precision), checkpoint)
    candidates = search.run()
    size = config.search.ensemble or _ENSEMBLES[config.search.quality]
    choice = choose(candidates, search.judge, size)
    model = build_chosen(choice, dataset)
    check_finite(model)
    own = dataset.select_columns(model.columns)
    calibration = calibrate(model, choice, search.folds)
    outputs = run_splits(model, choice, own, search.folds)
    quality = evaluate_splits(model, choice, own, search.folds, outputs)
    headline = describe_fusion(candidates, choice, search.judge)
    seconds = time.perf_counter() - start
    metrics: dict[str, Any] = {
        "headline": headline,
        "task": dataset.objective.task.name,
        "metric": search.judge.metric,
        "model": choice.name,
        "best_epoch": None,
        "temperature": calibration or None,
        "validation": quality["val"],
        "test": quality.get("test"),
        "candidates": candidate_rows(candidates, choice, search),
        "search": {
            "folds": len(search.folds.parts) if search.folds.is_crossed else 0,
            "rows": len(search.folds.rows),
            "refitted": search.folds.is_crossed or search.folds.final is not None,
            "reproducible": config.search.time_limit is None,
            "dropped": search.dropped,
            "chosen": chosen_figures(choice, search),
            "weights": {c.name: w for c, w in zip(choice.candidates, choice.weights, strict=True)},
        },
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "rows": {split: len(dataset.split_rows[split]) for split in SPLITS},
        "left_out": dataset.left_out,
        "leakage": dataset.leakage.rows,
        "speed": {
            "train_seconds": seconds,
            "train_rows_per_second": len(dataset.split_rows[TRAIN]) / seconds,
            "peak_memory_mb": peak_memory_mb(),
        },
    }
    metrics["explanation"] = explain_choice(metrics, dataset.rule)
    lines = _log_candidates(config, candidates, search.judge.metric)
    finished = FinishedModel(model, outputs, metrics, lines, chosen_layers(model, columns))
    write_model(config.output, config_hash, store, own, finished)
    remove_checkpoint(config.output)
    show_search(config.output, dataset, metrics)


def _resolve(
    config: TrainConfig,
    store: FeatureStore,
    columns: Sequence[Column],
    dataset: Dataset,
    fusion: str,
) -> ResolvedRun:
    """Return the layers and recipes of a fusion, as `--fusion` resolves them."""
    explicit = replace(
        config,
        model=replace(config.model, fusion=fusion, condition="none"),
        search=type(config.search)(),
    )
    return resolve_run(explicit, store, columns, dataset)


def _settings(config: TrainConfig, network: ResolvedRun) -> dict[str, Any]:
    """Return everything the weights depend on; written to config.json."""
    options = config.search
    return {
        **network.config,
        "fusion": "search",
        "lr": config.recipe.lr,
        "batch_size": config.recipe.batch_size,
        "epochs": config.recipe.epochs,
        "inverse_penalty": config.recipe.inverse_penalty,
        "standardised": config.recipe.standardised,
        "condition": config.model.condition,
        "search": {
            "version": 2,
            "quality": options.quality,
            "folds": options.folds,
            "ensemble": options.ensemble,
            "time_limit": options.time_limit,
        },
    }


def _log_candidates(config: TrainConfig, candidates: Sequence[Candidate], metric: str) -> list[str]:
    """Log each candidate as a run of one epoch; return the lines of log.jsonl."""
    lines = []
    with closing(MetricsLog(config.output, logger=config.run.logger)) as log:
        for candidate in candidates:
            judgement = candidate.judgement
            entry = {
                "epoch": 1,
                "val_loss": judgement.loss if np.isfinite(judgement.loss) else None,
                f"val_{metric}": judgement.metric,
                "seconds": candidate.seconds,
            }
            choice = {"model": candidate.name}
            log.log_metrics(choice, entry)
            lines.append(format_line(choice, entry))
    return lines
