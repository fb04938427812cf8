"""Run one trial (a model trained with one seed), keep it on disk, and read it back.

OUTPUT/cells/MODEL/SEED/model.safetensors    weights
                        val.npy, test.npy    predictions on these splits
                        cell.json            figures, written last: without it, no trial; and the
                                             size and the digests of the other files
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch

from mmfeat.errors import DamagedFileError
from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.inference import run_model
from mmfeat.models.saved_model import WEIGHTS, read_weights, restore_model, save_weights
from mmfeat.storage import Name, check_value, files, read_intact_document
from mmfeat.store import RecordedFile, check_file
from mmfeat.system import peak_memory_mb
from training.compare.flops import count_parameters, flops_per_record
from training.compare.inputs import Inputs, condition, is_clearly_better
from training.conditioning import attach_conditioning, with_conditioning
from training.data import TEST, TRAIN, VAL, Dataset
from training.fit.candidates import fit_recipes
from training.fit.fit_result import FitResult, best_result, compute_logits
from training.fit.halving import fit_by_halving
from training.fit.loop import Training
from training.fit.resolve import ResolvedRun
from training.recipe import AdamWRecipe

TRIALS = "cells"
"""Folder of all trials in a comparison."""

INTERACTION = "interaction.json"
"""The last document of a model, see `emap.py`."""

_FIGURES = "cell.json"

_TIMED_BATCHES = 16
"""Batches used to measure the scoring speed."""


class _Recorded(TypedDict):
    files: NotRequired[dict[Name, RecordedFile]]


@dataclass(frozen=True)
class Trial:
    """The figures of one trial.

    Attributes:
        choice: the learning rate or penalty it was trained with, and whether columns were
            standardised.
        epoch: the best epoch.
        val: the metric on validation at the best epoch; None if undefined there.
        train_rows_per_second, score_rows_per_second: measured while other trials run in parallel.
        peak_memory_mb: peak memory of the process so far.
        parameters: number of learned parameters.
        flops: operations per record (see `flops.py`).
        candidates: the values that were tried, with their metric.
        log: one entry per epoch of the best candidate.
        conditioning: column → conditioning of its features (see `inputs.py`).
    """

    choice: dict[str, float | bool]
    epoch: int
    val: float | None
    train_seconds: float
    train_rows_per_second: float
    score_rows_per_second: float
    peak_memory_mb: float
    parameters: int
    flops: float
    candidates: list[dict[str, Any]]
    log: list[dict[str, Any]]
    conditioning: dict[str, str] = field(default_factory=dict)


def run_trial(
    folder: str,
    resolved: ResolvedRun,
    dataset: Dataset,
    inputs: Sequence[Inputs] = ({},),
    on_epoch: Callable[[], None] = lambda: None,
) -> Trial:
    """Fit the recipes of the trial and write the candidate that is best on validation.

    Args:
        folder: output folder of the trial.
        resolved: the layers and the recipes to try.
        dataset: the rows, with the columns that the layers use.
        inputs: the inputs to try, each with every recipe.
        on_epoch: called after each epoch.
    """
    tried = [_fit(resolved, dataset, used, on_epoch) for used in inputs]
    best, layers = _choose(resolved, dataset, inputs, tried)
    log = [entry for results in tried for result in results for entry in result.log]
    train_seconds = sum(entry["train_seconds"] for entry in log)
    trial = Trial(
        choice=best.recipe.choice,
        epoch=best.epoch,
        val=best.score,
        train_seconds=sum(entry["seconds"] for entry in log),
        train_rows_per_second=len(dataset.split_rows[TRAIN]) * len(log) / train_seconds,
        score_rows_per_second=_scoring_speed(best.module, dataset),
        peak_memory_mb=peak_memory_mb(),
        parameters=count_parameters(best.module),
        flops=_flops(best.module, dataset),
        candidates=[
            {
                **result.recipe.choice,
                "conditioning": with_conditioning(resolved.architecture, used).conditioning,
                "epoch": result.epoch,
                "val": result.score,
            }
            for used, results in zip(inputs, tried, strict=True)
            for result in results
        ],
        log=best.log,
        conditioning=layers.conditioning,
    )
    recorded = {WEIGHTS: save_weights(folder, best.module)}
    for split in (VAL, TEST):
        logits = compute_logits(best.module, dataset, dataset.split_rows[split])
        with files.create(files.join(folder, f"{split}.npy")) as output:
            np.save(output, dataset.objective.predict(logits), allow_pickle=False)
        recorded[f"{split}.npy"] = output.info()
    files.write_json(files.join(folder, _FIGURES), asdict(trial) | {"files": recorded})
    return trial


def _fit(
    resolved: ResolvedRun, dataset: Dataset, inputs: Inputs, on_epoch: Callable[[], None]
) -> list[FitResult]:
    """Fit linear models to the end; of networks, the best ones after some epochs."""
    layers, recipes = resolved.architecture, resolved.recipes
    adamw = [recipe for recipe in recipes if isinstance(recipe, AdamWRecipe)]
    if not adamw:
        return fit_recipes(layers, dataset, recipes, lambda number, metrics: on_epoch())
    layers, dataset = condition(layers, dataset, inputs)
    return fit_by_halving(
        [Training(layers, dataset, recipe, lambda metrics: on_epoch()) for recipe in adamw]
    )


def _choose(
    resolved: ResolvedRun,
    dataset: Dataset,
    inputs: Sequence[Inputs],
    tried: Sequence[Sequence[FitResult]],
) -> tuple[FitResult, Architecture]:
    """Return the best result and its layers. A later input wins unless an earlier one is better.

    Args:
        resolved: the layers, of raw features.
        dataset: the rows.
        inputs: the inputs, the cheapest last.
        tried: the results of each input.
    """
    chosen: tuple[FitResult, Architecture] | None = None
    chosen_logits: np.ndarray | None = None
    for used, results in zip(inputs, tried, strict=True):
        best, layers = best_result(results), with_conditioning(resolved.architecture, used)
        if used:
            best = replace(best, module=attach_conditioning(best.module, layers, used))
        if len(inputs) == 1:
            return best, layers
        logits = compute_logits(best.module, dataset, dataset.split_rows[VAL])
        if chosen_logits is None or not is_clearly_better(
            dataset, best.recipe.metric, chosen_logits, logits
        ):
            chosen, chosen_logits = (best, layers), logits
    assert chosen
    return chosen


def list_documents(comparison: str) -> list[str]:
    """Return the documents of all trials and models, relative to the folder of a comparison."""
    names = []
    for model in files.list_names(files.join(comparison, TRIALS)):
        for path in files.list_names(files.join(comparison, TRIALS, model)):
            document = path if path == INTERACTION else f"{path}/{_FIGURES}"
            names.append(f"{TRIALS}/{model}/{document}")
    return [name for name in names if files.exists(files.join(comparison, name))]


def has_trial(folder: str) -> bool:
    """Return whether a trial has figures, intact or not."""
    return files.exists(files.join(folder, _FIGURES))


def read_trial(folder: str) -> Trial | None:
    """Read the figures of a trial; None if it is not finished or a file of it is damaged."""
    path = files.join(folder, _FIGURES)
    facts = read_intact_document(path, _Recorded)
    if facts is None:
        return None
    try:
        for name, info in facts.get("files", {}).items():
            check_file(files.join(folder, name), info)
        return check_value(facts, Trial, path)
    except DamagedFileError:
        return None


def read_trials(folders: Sequence[str]) -> list[Trial]:
    """Read the figures of trials, all of which are finished."""
    trials = [read_trial(folder) for folder in folders]
    return [trial for trial in trials if trial is not None]


def read_predictions(folder: str, split: str) -> np.ndarray:
    """Read the predictions of a finished trial on a split, in the form that the metrics take."""
    path = files.join(folder, f"{split}.npy")
    try:
        with files.open_input(path) as file:
            return np.load(file, allow_pickle=False)
    except (EOFError, MemoryError, ValueError) as error:
        cure = f"Remove {folder} and run mmfeat compare again"
        raise DamagedFileError(f"{path} must be an array", got=str(error), cure=cure) from error


def read_model(folder: str, resolved: ResolvedRun) -> Model:
    """Load the model of a finished trial, in eval mode."""
    return restore_model(resolved.architecture, read_weights(folder), folder).eval()


def best_seed(trials: Sequence[Trial], *, minimized: bool) -> int:
    """Return the index of the trial with the best metric on validation; of equals the first."""
    undefined = math.inf if minimized else -math.inf
    values = [undefined if trial.val is None else trial.val for trial in trials]
    return values.index(min(values) if minimized else max(values))


def _scoring_speed(model: Model, dataset: Dataset) -> float:
    """Measure rows per second of a forward pass on features in memory."""
    rows = dataset.split_rows[TRAIN][: _TIMED_BATCHES * model.batch_rows]
    features, present = dataset.features.take(rows)
    start = time.perf_counter()
    run_model(model, features, present)
    return len(rows) / (time.perf_counter() - start)


def _flops(model: Model, dataset: Dataset) -> float:
    features, present = dataset.features.take(dataset.split_rows[TRAIN][:1])
    return flops_per_record(
        model,
        {name: torch.from_numpy(values).float() for name, values in features.items()},
        {name: torch.from_numpy(values) for name, values in present.items()},
        records=1,
    )
