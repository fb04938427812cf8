"""Evaluate a model on one split of a feature store, shard by shard."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mmfeat.errors import MmfeatError
from mmfeat.features import ColumnShard, FeatureStore
from mmfeat.models.saved_model import LoadedModel, load_model
from mmfeat.system import ProgressBar, console, print_err, print_out, show_summary, show_table
from training.columns import check_sample_columns
from training.data import (
    SPLITS,
    USED,
    SplitRule,
    bind_text_target,
    count_reasons,
    read_sample_rows,
)
from training.evaluation.config import EvaluateConfig
from training.evaluation.evaluate_texts import TextRowNumbers, complete_scores, show_texts
from training.objectives.describe import DescribeObjective
from training.objectives.registry import objective_for
from training.objectives.unseen_labels import UnseenLabels

ALL = "all"

_MAX_MATRIX_CLASSES = 16
_MAX_TABLE_CLASSES = 100


def evaluate(config: EvaluateConfig) -> None:
    """Evaluate and print the metrics as tables or as one JSON object."""
    torch.set_num_threads(config.threads)
    model = load_model(config.model)
    model.decode_with(config.texts)
    store = FeatureStore(config.features)
    result = evaluate_split(model, store, config.split)
    unseen = UnseenLabels.of_result(result)
    if unseen.are_most:
        print_err(f"mmfeat: warning: {unseen}")
    if config.json:
        console.print_json(result)
    else:
        show_result(result)


def evaluate_split(model: LoadedModel, store: FeatureStore, split: str) -> dict[str, Any]:
    """Return the metrics of one split, and the reasons and counts of excluded rows.

    Args:
        model: a trained model.
        store: features with the columns of the model.
        split: `train`, `val`, `test`, or `all` for every row with a target.

    Raises:
        MmfeatError: the features are not those of the model, the target column is missing, or the
            split has no rows.
    """
    model.check_columns(store.columns)
    objective = objective_for(model.task, model.target)
    if isinstance(objective, DescribeObjective):
        bind_text_target(objective, store)
    rule = SplitRule() if split == ALL else SplitRule.from_config(model.split)
    splits = SPLITS if split == ALL else (split,)
    check_sample_columns(store, objective.target_columns, rule.flags)
    targets: list[np.ndarray] = []
    # The memory of rows that are left out is never touched, so it takes none.
    scores = np.empty((store.records, model.task.outputs), np.float32)
    present = np.empty((store.records, len(model.column_names)), bool)
    text_rows = TextRowNumbers()
    total = 0
    left_out: Counter[str] = Counter()
    with ProgressBar("evaluate", store.records, "records") as bar:
        done = 0
        for shard, columns in store.read(model.column_names):
            rows = read_sample_rows(store, shard, objective, rule, columns)
            reasons = rows.reasons(splits)
            used = np.flatnonzero(reasons == USED)
            left_out.update(count_reasons(reasons))
            part = slice(total, total := total + len(used))
            targets.append(rows.targets[used])
            present[part] = rows.present[used]
            scores[part] = _finite_scores(model, columns, used)
            if isinstance(objective, DescribeObjective):
                complete_scores(model, objective, columns, used, rows.targets[used], scores[part])
                text_rows.append(rows, used)
            done += len(rows.keys)
            bar.update(done)
    if not total:
        raise MmfeatError(
            f"the split {split!r} of {store.path} must have rows to evaluate on "
            f"(split rule: {rule}; excluded: {dict(left_out) or 'none'})",
            got=0,
            cure="Name another split with --split, or use --split all",
        )
    all_targets = objective.concatenate_targets(targets)
    targets.clear()  # the metrics need memory of their own
    metrics = objective.evaluate(
        all_targets,
        scores[:total],
        model.module.thresholds.numpy(),
        {name: present[:total, m] for m, name in enumerate(model.column_names)},
    )
    if isinstance(objective, DescribeObjective) and split != ALL:
        texts = objective.describe.to_texts(scores[:total])
        metrics |= text_rows.compare_with_baselines(model, store, objective, texts)
    return metrics | {
        "split": split,
        "task": model.task.name,
        "target": model.target,
        "left_out": dict(sorted(left_out.items())),
        "model": model.path,
        "features": store.path,
    }


def _finite_scores(
    model: LoadedModel, columns: Mapping[str, ColumnShard], rows: np.ndarray
) -> np.ndarray:
    predictions = model.predict_shard(columns, rows)
    if not predictions.scorable.all():
        raise MmfeatError(
            f"the model in {model.path} must give finite scores",
            got=f"NaN for {int((~predictions.scorable).sum()):,} of {len(rows):,} rows of a shard",
            cure="Train it again, with a lower --lr",
        )
    return predictions.scores


def show_result(result: dict[str, Any]) -> None:
    """Print the metrics as tables: overall, by modalities, by class, and the confusion matrix."""
    summary = {name: result[name] for name in ("split", "task", "target", "rows") if result[name]}
    summary |= {n: v for n, v in result.items() if isinstance(v, float) or v is None}
    summary |= {f"left out: {reason}": rows for reason, rows in result["left_out"].items()}
    if unseen := str(UnseenLabels.of_result(result)):
        summary["labels"] = unseen
    show_summary("evaluate", {name: "-" if v is None else v for name, v in summary.items()})
    if "per_subset" in result:
        _show_nested("by present modalities", "modalities", result["per_subset"])
    if "per_direction" in result:
        _show_nested("retrieval by direction", "direction", result["per_direction"])
    if "baselines" in result:
        show_texts(result)
    if "per_class" in result:
        _show_classes(result["per_class"])
    if "confusion_matrix" in result:
        _show_confusion_matrix(result["classes"], result["confusion_matrix"])


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


def _show_classes(rows: dict[str, dict[str, Any]]) -> None:
    if len(rows) > _MAX_TABLE_CLASSES:
        frequent = sorted(rows, key=lambda name: -rows[name]["support"])[:_MAX_TABLE_CLASSES]
        print_out(
            f"the {_MAX_TABLE_CLASSES} classes with most rows; --json prints all {len(rows):,}"
        )
        rows = {name: rows[name] for name in rows if name in frequent}
    _show_nested("by class", "class", rows)


def _show_confusion_matrix(classes: list[str], matrix: list[list[int]]) -> None:
    if len(classes) > _MAX_MATRIX_CLASSES:
        print_out(f"--json prints the confusion matrix of all {len(classes):,} classes")
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
