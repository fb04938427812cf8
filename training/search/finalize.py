"""Build the chosen model and its documents."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from mmfeat.features import Column
from mmfeat.models.architecture import ENSEMBLE, Architecture
from mmfeat.models.base import Model
from mmfeat.models.ensemble import EnsembleModel
from mmfeat.models.inference import InferenceOutput, to_predictions
from mmfeat.models.saved_model import input_shapes, layers_to_config
from training.data import TEST, VAL, Dataset
from training.fit.fit_result import run_rows
from training.search.folds import Folds
from training.search.selection import Choice


def build_chosen(choice: Choice, dataset: Dataset) -> Model:
    """Return the model of a choice.

    It reads the columns of its members; all columns if some record lacks those of the members, so
    that every record with a modality gets a prediction.

    Args:
        choice: the chosen candidates.
        dataset: the rows, with all columns.
    """
    members: list[Model] = []
    factors: list[float] = []
    for candidate, weight in zip(choice.candidates, choice.weights, strict=True):
        models = candidate.build()
        scale = weight / len(models)
        if len(choice.candidates) > 1:
            scale /= candidate.judgement.temperature
        members += models
        factors += [scale] * len(models)
    names = {name for candidate in choice.candidates for name in candidate.columns}
    own = np.logical_or.reduce([dataset.present[name] for name in names])
    if not (own >= np.logical_or.reduce(list(dataset.present.values()))).all():
        names = set(dataset.present)
    columns = [column for column in dataset.features.columns if column.name in names]
    if len(members) == 1 and list(members[0].columns) == [column.name for column in columns]:
        return members[0]
    architecture = Architecture(
        **input_shapes(columns),
        outputs=dataset.objective.task.outputs,
        fusion=ENSEMBLE,
        combination="linear",
        dropout=0.0,
        modality_dropout=0.0,
        members=tuple(member.architecture for member in members),
    )
    ensemble = EnsembleModel(architecture, members)
    ensemble.member_weights.copy_(torch.tensor(factors))
    return ensemble.eval()


def chosen_layers(model: Model, columns: Sequence[Column]) -> dict[str, Any]:
    """Return columns and layers of a model for the manifest."""
    own = [asdict(column) for column in columns if column.name in model.columns]
    return {"columns": own, **layers_to_config(model.architecture)}


def calibrate(model: Model, choice: Choice, folds: Folds) -> dict[str, Any]:
    """Fit temperature and thresholds to the predictions that chose; return figures for JSON."""
    dataset = folds.whole
    return dataset.objective.calibrate(model, dataset.targets[folds.rows], choice.logits)


def run_splits(
    model: Model, choice: Choice, dataset: Dataset, folds: Folds
) -> dict[str, InferenceOutput]:
    """Return the model's output for val and test; for val the logits that chose.

    This is the only use of the test split.
    """
    rows = dataset.split_rows
    outputs = {VAL: run_rows(model, dataset, rows[VAL])}
    positions = np.searchsorted(folds.rows, rows[VAL])
    outputs[VAL] = outputs[VAL]._replace(logits=choice.logits[positions])
    if len(rows[TEST]):
        outputs[TEST] = run_rows(model, dataset, rows[TEST])
    return outputs


def evaluate_splits(
    model: Model,
    choice: Choice,
    dataset: Dataset,
    folds: Folds,
    outputs: dict[str, InferenceOutput],
) -> dict[str, dict[str, Any]]:
    """Return all metrics of the rows that chose, and of test."""
    objective = dataset.objective
    chosen = outputs[VAL]
    if folds.is_crossed:
        chosen = run_rows(model, dataset, folds.rows)._replace(logits=choice.logits)
    parts = {VAL: (folds.rows, chosen)}
    if TEST in outputs:
        parts[TEST] = (dataset.split_rows[TEST], outputs[TEST])
    return {
        split: objective.evaluate(
            dataset.targets[rows],
            to_predictions(model, objective.task, output).scores,
            model.thresholds.numpy(),
            {name: mask[rows] for name, mask in dataset.present.items()},
        )
        for split, (rows, output) in parts.items()
    }
