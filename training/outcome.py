"""What a training run leaves: a verdict, files, and a table for the person who waits."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mmfeat import storage
from mmfeat.console import peak_memory_mb, show_summary
from mmfeat.models.checkpoint import WEIGHTS, save_weights
from mmfeat.models.inference import predict, run, softmax
from mmfeat.store import write_manifest
from training.calibration import ece, fit_temperature, nll
from training.data import Dataset
from training.fitted import Fitted
from training.metrics import measure
from training.splits import SPLITS, TEST, TRAIN, VAL

METRICS = "metrics.json"
LOG = "log.jsonl"


def judge(best: Fitted, candidates: Sequence[Fitted], dataset: Dataset) -> dict[str, Any]:
    """Calibrate the best candidate and measure it; what metrics.json holds.

    The test split is looked at here, once, and nowhere else in training.
    """
    metric = best.recipe.metric
    return {
        "metric": metric,
        **best.recipe.choice,
        "best_epoch": best.epoch,
        "temperature": calibrate(best, dataset),
        "validation": _measure(best, dataset, VAL),
        "test": _measure(best, dataset, TEST) if len(dataset.parts[TEST]) else None,
        "candidates": [
            {
                **c.recipe.choice,
                "epoch": c.epoch,
                metric: c.score,
                "nll": None if math.isinf(c.loss) else c.loss,
            }
            for c in candidates
        ],
        "parameters": sum(weight.numel() for weight in best.module.parameters()),
        "rows": {split: len(rows) for split, rows in dataset.parts.items()},
        "left_out": dataset.left_out,
        "speed": _speed(candidates, len(dataset.parts[TRAIN])),
    }


def calibrate(best: Fitted, dataset: Dataset) -> dict[str, float | None]:
    """Fit the model's temperature on validation; returns it with NLL and ECE before and after."""
    rows = dataset.parts[VAL]
    labels = dataset.labels[rows]
    logits = run(best.module, *dataset.features_of(rows)).logits
    temperature = np.float32(fit_temperature(logits, labels))
    best.module.temperature.fill_(float(temperature))
    before, after = softmax(logits), softmax(logits / temperature)
    return {
        "value": float(temperature),
        "nll_before": nll(before, labels),
        "nll_after": nll(after, labels),
        "ece_before": ece(before, labels),
        "ece_after": ece(after, labels),
    }


def _measure(best: Fitted, dataset: Dataset, split: str) -> dict[str, Any]:
    rows = dataset.parts[split]
    features, present = dataset.features_of(rows)
    probabilities = predict(best.module, features, present).probabilities
    return measure(dataset.texts[rows].tolist(), probabilities, present, dataset.classes)


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
    best: Fitted,
    candidates: Sequence[Fitted],
    metrics: dict[str, Any],
) -> None:
    """Write weights, metrics and log, and the manifest last."""
    weights = save_weights(folder, best.module)
    storage.write_json(storage.join(folder, METRICS), metrics)
    with storage.create(storage.join(folder, LOG)) as output:
        for candidate in candidates:
            tried = {f"tried_{name}": value for name, value in candidate.recipe.choice.items()}
            for entry in candidate.log:
                line = tried | entry
                output.write(json.dumps(line).encode() + b"\n")
    write_manifest(
        folder,
        "model",
        config_hash,
        files={WEIGHTS: weights},
        rows=metrics["rows"],
        left_out=metrics["left_out"],
        torch=torch.__version__,
    )


def show_outcome(
    folder: str, dataset: Dataset, choice: dict[str, float], metrics: dict[str, Any]
) -> None:
    """The closing table."""
    metric = metrics["metric"]
    facts: dict[str, Any] = {f"rows: {split}": metrics["rows"][split] for split in SPLITS}
    facts |= {f"left out: {reason}": rows for reason, rows in metrics["left_out"].items()}
    facts |= {"split by": str(dataset.rule), "classes": len(dataset.classes)}
    for split in ("validation", "test"):
        for label, rows in (metrics[split] or {}).get("unseen_labels", {}).items():
            facts[f"{split}: label {label!r}, unseen in training"] = f"{rows:,} rows, all errors"
    facts |= {
        **{name.replace("_", " "): f"{value:g}" for name, value in choice.items()},
        "best epoch": metrics["best_epoch"],
        f"validation: {metric}": metrics["validation"][metric],
        f"test: {metric}": metrics["test"][metric] if metrics["test"] else "no test rows",
        "temperature": metrics["temperature"]["value"],
        "parameters": metrics["parameters"],
        "rows a second": round(metrics["speed"]["train_rows_per_second"]),
        "seconds of training": metrics["speed"]["train_seconds"],
        "peak memory": f"{metrics['speed']['peak_memory_mb']:,.0f} MB",
        "model": folder,
    }
    show_summary("train", facts)
