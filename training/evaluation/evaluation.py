"""Measure a model on the rows of one split, shard by shard, as scoring would see them."""

import json
from collections import Counter
from typing import Any

import numpy as np
import torch

from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from mmfeat.models.checkpoint import LoadedModel, load_model
from mmfeat.system.console import Bar, say, show_summary, show_table
from training.config import EvaluateConfig
from training.data.rows import USED, check_metadata, count, read_rows
from training.data.splits import SPLITS, SplitRule
from training.objectives import objective_for

ALL = "all"

_WIDEST_MATRIX = 16


def evaluate(config: EvaluateConfig) -> None:
    """Measure and print, as tables or as one JSON object."""
    torch.set_num_threads(config.threads)
    model = load_model(config.model)
    store = FeatureStore(config.features)
    result = measure_split(model, store, config.split)
    if config.json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        show_result(result)


def measure_split(model: LoadedModel, store: FeatureStore, split: str) -> dict[str, Any]:
    """What `measure` says of one split of a feature store, and who was left out.

    Args:
        model: a trained model.
        store: features with the columns the model was trained on.
        split: `train`, `val`, `test`, or `all` for every row with a label.

    Raises:
        MmfeatError: other features than the model's, no target column, or no row in the split.
    """
    model.check_columns(store.columns)
    objective = objective_for(model.task, model.target)
    rule = SplitRule() if split == ALL else SplitRule(**model.split)
    wanted = SPLITS if split == ALL else (split,)
    check_metadata(store, objective, rule)
    targets: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    present: list[np.ndarray] = []
    left_out: Counter[str] = Counter()
    with Bar("evaluate", store.records, "records") as bar:
        done = 0
        for shard, columns in store.read(model.column_names):
            rows = read_rows(store, shard, objective, rule, columns)
            reasons = rows.reasons(wanted)
            used = np.flatnonzero(reasons == USED)
            left_out.update(count(reasons))
            targets.append(rows.targets[used])
            present.append(rows.present[used])
            scores.append(model.predict_shard(columns, used).scores)
            done += len(rows.keys)
            bar.at(done)
    pattern = np.concatenate(present)
    if not len(pattern):
        raise MmfeatError(
            f"the split {split!r} of {store.path} must have rows to measure on "
            f"(split: {rule}; left out: {dict(left_out) or 'none'})",
            got=0,
            cure="Name another with --split, or --split all",
        )
    return objective.measure(
        objective.join(targets),
        np.concatenate(scores),
        model.module.thresholds.numpy(),
        {name: pattern[:, m] for m, name in enumerate(model.column_names)},
    ) | {
        "split": split,
        "task": model.task.name,
        "target": model.target,
        "left_out": dict(sorted(left_out.items())),
        "model": model.path,
        "features": store.path,
    }


def show_result(result: dict[str, Any]) -> None:
    """The result as tables: the whole, each presence subset, each class, the confusion matrix."""
    numbers = {n: v for n, v in result.items() if isinstance(v, float) or v is None}
    facts = {name: result[name] for name in ("split", "task", "target", "rows") if result[name]}
    facts |= numbers
    facts |= {f"left out: {reason}": rows for reason, rows in result["left_out"].items()}
    facts |= {
        f"label {label!r}, unseen in training": f"{rows:,} rows"
        for label, rows in result.get("unseen_labels", {}).items()
    }
    show_summary("evaluate", {name: "-" if v is None else v for name, v in facts.items()})
    if "per_subset" in result:
        _show_nested("by what records have", "modalities", result["per_subset"])
    if "per_direction" in result:
        _show_nested("who finds whom", "from", result["per_direction"])
    if "per_class" in result:
        _show_nested("by class", "class", result["per_class"])
    if "confusion_matrix" in result:
        _show_confusions(result["classes"], result["confusion_matrix"])


def _show_nested(title: str, first: str, rows: dict[str, dict[str, Any]]) -> None:
    names = list(next(iter(rows.values())))
    show_table(
        title,
        [first, *(name.replace("_", " ") for name in names)],
        [
            [row, *("-" if v is None else v for v in values.values())]
            for row, values in rows.items()
        ],
    )


def _show_confusions(classes: list[str], matrix: list[list[int]]) -> None:
    if len(classes) > _WIDEST_MATRIX:
        say(f"The confusion matrix of {len(classes):,} classes is in the output of --json")
        return
    numbers = [f"({number})" for number in range(1, len(classes) + 1)]
    show_table(
        "confusion matrix",
        ["true ↓ predicted →", *numbers],
        [
            [f"{number} {name}", *row]
            for number, name, row in zip(numbers, classes, matrix, strict=True)
        ],
    )
