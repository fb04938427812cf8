"""What a training run leaves: a verdict, files, and a table for the person who waits."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mmfeat.features.store import FeatureStore
from mmfeat.models.base import Model
from mmfeat.models.checkpoint import WEIGHTS, save_weights
from mmfeat.models.inference import predict
from mmfeat.store import files
from mmfeat.store.directory import write_manifest
from mmfeat.system.console import peak_memory_mb, show_summary
from training.data.dataset import Dataset
from training.data.splits import SPLITS, TEST, TRAIN, VAL
from training.fit.fit_result import Fitted, logits_of
from training.fit.log import LOG, line_of
from training.report import REPORT

METRICS = "metrics.json"

_CHOSEN = ("lr", "inverse_penalty", "standardised")


def judge(best: Fitted, candidates: Sequence[Fitted], dataset: Dataset) -> dict[str, Any]:
    """Calibrate the best candidate and measure it; what metrics.json holds.

    The test split is looked at here, once, and nowhere else in training.
    """
    metric = best.recipe.metric
    rows = dataset.parts[VAL]
    calibration = dataset.objective.calibrate(
        best.module, dataset.targets[rows], logits_of(best.module, dataset, rows)
    )
    return {
        "task": dataset.objective.task.name,
        "metric": metric,
        **best.recipe.choice,
        "best_epoch": best.epoch,
        "temperature": calibration or None,
        "validation": measure_rows(best.module, dataset, VAL),
        "test": measure_rows(best.module, dataset, TEST) if len(dataset.parts[TEST]) else None,
        "candidates": [
            {
                **c.recipe.choice,
                "epoch": c.epoch,
                metric: c.score,
                "loss": None if math.isinf(c.loss) else c.loss,
            }
            for c in candidates
        ],
        "parameters": sum(weight.numel() for weight in best.module.parameters()),
        "rows": {split: len(rows) for split, rows in dataset.parts.items()},
        "left_out": dataset.left_out,
        "leakage": dataset.leakage.rows,
        "speed": _speed(candidates, len(dataset.parts[TRAIN])),
    }


def measure_rows(module: Model, dataset: Dataset, split: str) -> dict[str, Any]:
    """What the objective reports of a split."""
    rows = dataset.parts[split]
    task = dataset.objective.task
    scores = np.concatenate(
        [
            predict(module, task, features, present).scores
            for _, features, present in dataset.features.in_parts(rows)
        ]
    )
    present = {name: there[rows] for name, there in dataset.present.items()}
    return dataset.objective.measure(
        dataset.targets[rows], scores, module.thresholds.numpy(), present
    )


def _speed(candidates: Sequence[Fitted], rows: int) -> dict[str, float]:
    entries = [entry for candidate in candidates for entry in candidate.log]
    return {
        "train_seconds": sum(entry["seconds"] for entry in entries),
        "train_rows_per_second": rows * len(entries) / sum(e["train_seconds"] for e in entries),
        "peak_memory_mb": peak_memory_mb(),
    }


def write_model(
    folder: str,
    config_hash: str,
    store: FeatureStore,
    best: Fitted,
    candidates: Sequence[Fitted],
    metrics: dict[str, Any],
) -> None:
    """Write weights, metrics and log, and the manifest last."""
    weights = save_weights(folder, best.module)
    files.write_json(files.join(folder, METRICS), metrics)
    with files.create(files.join(folder, LOG)) as output:
        for candidate in candidates:
            for entry in candidate.log:
                output.write(line_of(candidate.recipe.choice, entry).encode())
    write_manifest(
        folder,
        "model",
        config_hash,
        files={WEIGHTS: weights},
        features=store.path,
        rows=metrics["rows"],
        left_out=metrics["left_out"],
        torch=torch.__version__,
    )


def show_outcome(folder: str, dataset: Dataset, metrics: dict[str, Any]) -> None:
    """The closing table."""
    metric = metrics["metric"]
    choice = {name: metrics[name] for name in _CHOSEN if name in metrics}
    facts: dict[str, Any] = {f"rows: {split}": metrics["rows"][split] for split in SPLITS}
    facts |= {f"left out: {reason}": rows for reason, rows in metrics["left_out"].items()}
    facts |= {"split by": str(dataset.rule), "task": metrics["task"]}
    if "classes" in metrics["validation"]:
        facts["classes"] = len(metrics["validation"]["classes"])
    if dataset.leakage.worst:
        facts["leakage"] = dataset.leakage.worst
    for split in ("validation", "test"):
        for label, rows in (metrics[split] or {}).get("unseen_labels", {}).items():
            facts[f"{split}: label {label!r}, unseen in training"] = f"{rows:,} rows"
    facts |= {
        **{name.replace("_", " "): f"{value:g}" for name, value in choice.items()},
        "best epoch": metrics["best_epoch"],
        f"validation: {metric}": metrics["validation"][metric],
        f"test: {metric}": metrics["test"][metric] if metrics["test"] else "no test rows",
        **_calibration(metrics["temperature"]),
        "parameters": metrics["parameters"],
        "rows a second": round(metrics["speed"]["train_rows_per_second"]),
        "seconds of training": metrics["speed"]["train_seconds"],
        "peak memory": f"{metrics['speed']['peak_memory_mb']:,.0f} MB",
        "model": folder,
        "the page about it": files.join(folder, REPORT),
    }
    show_summary("train", facts)


def _calibration(found: dict[str, Any] | None) -> dict[str, Any]:
    if not found:
        return {}
    before, after = (
        ", ".join(
            f"{name.upper()} -" if found[key] is None else f"{name.upper()} {found[key]:.3f}"
            for name in ("nll", "ece")
            for key in [f"{name}_{when}"]
        )
        for when in ("before", "after")
    )
    return {"temperature": found["value"], "calibration": f"{before} → {after}"}
