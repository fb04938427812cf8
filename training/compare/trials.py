"""One training of one system: made, kept on disk, and found there by the next run.

OUTPUT/cells/SYSTEM/SEED/model.safetensors    the weights
                         val.npy, test.npy    what it predicts of these splits
                         cell.json            figures, written last: without it there is no cell
"""

import io
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import safetensors.torch
import torch

from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from mmfeat.models.checkpoint import WEIGHTS, save_weights
from mmfeat.models.inference import run
from mmfeat.store import files
from mmfeat.system.console import peak_memory_mb
from training.compare.flops import flops_per_record, parameters
from training.data.dataset import Dataset
from training.data.splits import TEST, TRAIN, VAL
from training.fit.candidates import fit_recipe
from training.fit.fit_result import Fitted, logits_of
from training.fit.recipe import RidgeRecipe
from training.fit.resolve import Plan
from training.fit.ridge import solve_ridge

CELL = "cell.json"

_TIMED_ROWS = 8192
"""Rows that are scored to see how fast that goes."""


@dataclass(frozen=True)
class Cell:
    """Figures of one training.

    Attributes:
        choice: the learning rate or penalty it was trained with.
        epoch: its best epoch.
        val: its metric on validation, of the best epoch; None where validation cannot tell.
        train_rows_per_second, score_rows_per_second: beside whatever else ran.
        parameters: numbers it learned.
        peak_memory_mb: of its process so far.
        flops: of a record, as `flops.py` counts them.
        candidates: the values that were tried, with their metric.
        log: one entry an epoch, of the one that was taken.
    """

    choice: dict[str, float]
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


def train_cell(folder: str, plan: Plan, dataset: Dataset) -> Cell:
    """Fit every recipe of the plan, keep the best on validation, write it down.

    Args:
        folder: of the cell.
        plan: the layers and the recipes to try.
        dataset: the rows, with the columns that the layers take.
    """
    fitted = _fit(plan, dataset)
    best = max(fitted, key=lambda candidate: candidate.rank)
    log = [entry for candidate in fitted for entry in candidate.log]
    trained = sum(entry["train_seconds"] for entry in log)
    cell = Cell(
        choice=best.recipe.choice,
        epoch=best.epoch,
        val=best.score,
        train_seconds=sum(entry["seconds"] for entry in log),
        train_rows_per_second=len(dataset.parts[TRAIN]) * len(log) / trained,
        score_rows_per_second=_score_speed(best.module, dataset),
        peak_memory_mb=peak_memory_mb(),
        parameters=parameters(best.module),
        flops=_flops(best.module, dataset),
        candidates=[{**c.recipe.choice, "epoch": c.epoch, "val": c.score} for c in fitted],
        log=best.log,
    )
    save_weights(folder, best.module)
    for split in (VAL, TEST):
        logits = logits_of(best.module, dataset, dataset.parts[split])
        _save(files.join(folder, f"{split}.npy"), dataset.objective.decide(logits))
    files.write_json(files.join(folder, CELL), asdict(cell))
    return cell


def read_cell(folder: str) -> Cell | None:
    """The figures of a cell that is finished."""
    facts = files.read_json(files.join(folder, CELL))
    return None if facts is None else Cell(**facts)


def read_predictions(folder: str, split: str) -> np.ndarray:
    """What a finished cell predicts of a split, as the objective decides it."""
    with files.open_input(files.join(folder, f"{split}.npy")) as file:
        return np.load(io.BytesIO(file.read()), allow_pickle=False)


def read_module(folder: str, plan: Plan) -> Model:
    """The model of a finished cell."""
    module = build_model(plan.architecture)
    with files.open_input(files.join(folder, WEIGHTS)) as file:
        module.load_state_dict(safetensors.torch.load(file.read()))
    return module.eval()


def read_cells(folders: Sequence[str]) -> list[Cell]:
    """The figures of cells that are all finished."""
    cells = [read_cell(folder) for folder in folders]
    return [cell for cell in cells if cell is not None]


def best_seed(cells: Sequence[Cell], *, falls: bool) -> int:
    """The number of the cell with the best metric on validation, of equals the first."""
    worst = math.inf if falls else -math.inf
    values = [worst if cell.val is None else cell.val for cell in cells]
    return values.index(min(values) if falls else max(values))


def _fit(plan: Plan, dataset: Dataset) -> list[Fitted]:
    ridges = [recipe for recipe in plan.recipes if isinstance(recipe, RidgeRecipe)]
    if ridges:
        return solve_ridge(plan.architecture, dataset, ridges)
    return [fit_recipe(plan.architecture, dataset, recipe) for recipe in plan.recipes]


def _save(path: str, values: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    with files.create(path) as output:
        output.write(buffer.getbuffer())


def _score_speed(module: Model, dataset: Dataset) -> float:
    """Rows a second of a forward on features in memory."""
    rows = dataset.parts[TRAIN][:_TIMED_ROWS]
    features, present = dataset.features.take(rows)
    began = time.perf_counter()
    run(module, features, present)
    return len(rows) / (time.perf_counter() - began)


def _flops(module: Model, dataset: Dataset) -> float:
    features, present = dataset.features.take(dataset.parts[TRAIN][:1])
    return flops_per_record(
        module,
        {name: torch.from_numpy(values).float() for name, values in features.items()},
        {name: torch.from_numpy(values) for name, values in present.items()},
        records=1,
    )
