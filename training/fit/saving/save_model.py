"""Calibrate, evaluate and save the best candidate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mmfeat.drift import STATISTICS
from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.models.alignment import AlignmentModel
from mmfeat.models.base import Model
from mmfeat.models.decoder.text_codec import TOKENIZER
from mmfeat.models.inference import InferenceOutput, to_predictions
from mmfeat.models.saved_model import (
    WEIGHTS,
    layers_to_config,
    save_tokenizer,
    save_weights,
)
from mmfeat.models.tasks import Describe
from mmfeat.storage import files
from mmfeat.store import make_manifest, record_file, write_manifest
from mmfeat.system import peak_memory_mb
from training.data import TEST, TRAIN, VAL, Dataset
from training.evaluation.prediction_table import PREDICTIONS, write_predictions
from training.evaluation.text_baselines import compare_with_baselines
from training.fit.fit_result import FitResult, best_result, run_rows
from training.fit.metrics_log import LOG, format_line
from training.fit.saving.drift_statistics import write_statistics
from training.objectives.describe import DescribeObjective
from training.report import write_model_report

METRICS = "metrics.json"

_RECORDED = (METRICS, LOG, PREDICTIONS)
"""Files in the manifest, besides the weights. `mmfeat report` may write the report again."""


def save_best(
    folder: str,
    config_hash: str,
    store: FeatureStore,
    dataset: Dataset,
    candidates: Sequence[FitResult],
    compute_metrics: Mapping[str, Any],
) -> dict[str, Any]:
    """Save the best candidate with all files of a model; the manifest is written last.

    Args:
        folder: the model's directory, with its config.json.
        config_hash: hash of that config.
        store: the features.
        dataset: the dataset of the candidates.
        candidates: results of all recipes.
        compute_metrics: device and precision, for metrics.json.

    Returns:
        The content of metrics.json.
    """
    best = best_result(candidates)
    check_finite(best.module)
    calibration, outputs = _calibrate(best, dataset)
    metrics = _evaluate(best, candidates, dataset, calibration, outputs)
    metrics["speed"] |= compute_metrics
    lines = [
        format_line(candidate.recipe.choice, epoch_metrics)
        for candidate in candidates
        for epoch_metrics in candidate.log
    ]
    architecture = best.module.architecture
    chosen = layers_to_config(architecture) if architecture.conditioning else None
    model = FinishedModel(best.module, outputs, metrics, lines, chosen)
    write_model(folder, config_hash, store, dataset, model)
    return metrics


@dataclass(frozen=True)
class FinishedModel:
    """A trained model and what its files say of it.

    Attributes:
        module: the model.
        outputs: split → the module's output for its rows.
        metrics: the content of metrics.json.
        log_lines: the lines of log.jsonl.
        chosen: columns and layers of the module, if config.json does not have them.
    """

    module: Model
    outputs: Mapping[str, InferenceOutput]
    metrics: Mapping[str, Any]
    log_lines: Sequence[str]
    chosen: Mapping[str, Any] | None = None


def write_model(
    folder: str, config_hash: str, store: FeatureStore, dataset: Dataset, model: FinishedModel
) -> None:
    """Write all files of a model; the manifest is written last.

    Args:
        folder: the model's directory, with its config.json.
        config_hash: hash of that config.
        store: the features.
        dataset: the rows, with the columns of the module.
        model: the model.
    """
    module, metrics = model.module, model.metrics
    write_predictions(folder, store, module, dataset, model.outputs)
    recorded = {WEIGHTS: save_weights(folder, module)}
    train_rows = dataset.split_rows[TRAIN]
    recorded[STATISTICS] = write_statistics(folder, store, module.columns, train_rows)
    task = dataset.objective.task
    if isinstance(task, Describe):
        recorded[TOKENIZER] = save_tokenizer(folder, task.codec)
    files.write_json(files.join(folder, METRICS), metrics)
    with files.create(files.join(folder, LOG)) as output:
        for line in model.log_lines:
            output.write(line.encode())
    flags = {c: f for c, f in store.encoder_flags.items() if c in module.columns}
    entries: dict[str, Any] = {
        "files": {
            **recorded,
            **{name: record_file(files.join(folder, name)) for name in _RECORDED},
        },
        "features": store.path,
        "encoder_flags": flags,
        "rows": metrics["rows"],
        "left_out": metrics["left_out"],
        "torch": torch.__version__,
        **({"chosen": dict(model.chosen)} if model.chosen else {}),
    }
    write_model_report(folder, make_manifest(folder, "model", config_hash, **entries))
    write_manifest(folder, "model", config_hash, **entries)


def check_finite(module: Model) -> None:
    """Check the weights of the best candidate; all others are worse.

    Raises:
        MmfeatError: a weight is NaN or infinite.
    """
    for name, weights in module.state_dict().items():
        if not torch.isfinite(weights).all():
            raise MmfeatError(
                "the weights of the best candidate must be finite: the training has diverged",
                got=f"NaN or infinity in {name}",
                cure="Train with a lower --lr",
            )


def _calibrate(
    best: FitResult, dataset: Dataset
) -> tuple[dict[str, Any], dict[str, InferenceOutput]]:
    """Calibrate the model on validation, and run it on the rows of val and test.

    This is the only use of the test split in training.
    """
    module, rows = best.module, dataset.split_rows
    outputs = {VAL: run_rows(module, dataset, rows[VAL])}
    # The vectors of an absent modality are NaN in an alignment.
    if not isinstance(module, AlignmentModel) and not np.isfinite(outputs[VAL].logits).all():
        raise MmfeatError(
            "the predictions of the best candidate must be finite: the training has diverged",
            got="NaN or infinity on validation",
            cure="Train with a lower --lr",
        )
    calibration = dataset.objective.calibrate(
        module, dataset.targets[rows[VAL]], outputs[VAL].logits
    )
    if isinstance(module, AlignmentModel):
        # Its outputs depend on the references and the temperature that calibration has set.
        outputs[VAL] = run_rows(module, dataset, rows[VAL])
    if len(rows[TEST]):
        outputs[TEST] = run_rows(module, dataset, rows[TEST])
    return calibration, outputs


def _evaluate(
    best: FitResult,
    candidates: Sequence[FitResult],
    dataset: Dataset,
    calibration: dict[str, Any],
    outputs: Mapping[str, InferenceOutput],
) -> dict[str, Any]:
    """Return the content of metrics.json."""
    metric = best.recipe.metric
    epochs = [epoch_metrics for candidate in candidates for epoch_metrics in candidate.log]
    train_seconds = sum(epoch_metrics["train_seconds"] for epoch_metrics in epochs)
    quality = {
        split: _evaluate_split(best, dataset, split, output) for split, output in outputs.items()
    }
    return {
        "task": dataset.objective.task.name,
        "metric": metric,
        **best.recipe.choice,
        "best_epoch": best.epoch,
        "temperature": calibration or None,
        "validation": quality[VAL],
        "test": quality.get(TEST),
        "candidates": [
            {
                **candidate.recipe.choice,
                "epoch": candidate.epoch,
                metric: candidate.score,
                "loss": None if math.isinf(candidate.loss) else candidate.loss,
            }
            for candidate in candidates
        ],
        "parameters": sum(weight.numel() for weight in best.module.parameters()),
        "rows": {split: len(rows) for split, rows in dataset.split_rows.items()},
        "left_out": dataset.left_out,
        "leakage": dataset.leakage.rows,
        "speed": {
            "train_seconds": sum(epoch_metrics["seconds"] for epoch_metrics in epochs),
            "train_rows_per_second": len(dataset.split_rows[TRAIN]) * len(epochs) / train_seconds,
            "peak_memory_mb": peak_memory_mb(),
        },
    }


def _evaluate_split(
    best: FitResult, dataset: Dataset, split: str, output: InferenceOutput
) -> dict[str, Any]:
    rows, objective = dataset.split_rows[split], dataset.objective
    scores = to_predictions(best.module, objective.task, output).scores
    metrics = objective.evaluate(
        dataset.targets[rows],
        scores,
        best.module.thresholds.numpy(),
        {name: mask[rows] for name, mask in dataset.present.items()},
    )
    if isinstance(objective, DescribeObjective):
        metrics |= compare_with_baselines(
            dataset.features,
            objective,
            dataset.targets,
            dataset.split_rows[TRAIN],
            rows,
            objective.describe.to_texts(scores),
        )
    return metrics
