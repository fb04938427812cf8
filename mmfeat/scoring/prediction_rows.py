"""The rows of predictions: status, reason, scores and weights, and columns of the samples table."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmfeat.config import split_commas
from mmfeat.errors import MmfeatError, did_you_mean
from mmfeat.features import ColumnShard, FeatureStore
from mmfeat.records import free_columns

if TYPE_CHECKING:
    from mmfeat.models.inference import Predictions
    from mmfeat.models.saved_model import LoadedModel
    from mmfeat.models.tasks import Task


def choose_columns(flags: Sequence[str], features: FeatureStore) -> list[str]:
    """Return the columns of the samples table that --columns names; the key is always there.

    Raises:
        MmfeatError: the samples table lacks one.
    """
    if not flags:
        return []
    available = features.samples_schema.names
    names = [
        name for text in flags for name in ([text] if text in available else split_commas(text))
    ]
    for name in names:
        if name not in available:
            raise MmfeatError(
                f"the samples table of {features.path} has no column {name!r} (--columns); it has: "
                f"{', '.join(available)}",
                cure=did_you_mean(name, available) or "Name one of them with --columns",
            )
    return [name for name in dict.fromkeys(names) if name != "__key__"]


def find_reasons(
    scorable: np.ndarray, columns: Mapping[str, ColumnShard], deadly: Collection[int]
) -> list[str | None]:
    """Return why each row cannot be scored, or None.

    It is the reasons of the missing columns, or `not_finite` if the model gives NaN.

    Args:
        scorable: bool, shape (rows,).
        columns: the columns of the shard.
        deadly: rows that kill the process that scores them.
    """
    column_reasons = {name: column.reasons.to_pylist() for name, column in columns.items()}
    return [
        None
        if is_scorable
        else "worker_died"
        if row in deadly
        else ", ".join(
            f"{name}:{reasons[row]}"
            for name, reasons in column_reasons.items()
            if reasons[row] is not None
        )
        or "not_finite"
        for row, is_scorable in enumerate(scorable)
    ]


def list_length(task: "Task", asked: int | None) -> int:
    """Return how many classes the lists of the predictions have; 0 without lists."""
    from mmfeat.models.tasks import top_classes

    return top_classes(len(task.config.get("classes", [])), asked)


def make_table(
    model: "LoadedModel",
    predictions: "Predictions",
    keys: pa.ChunkedArray,
    reasons: Sequence[str | None],
    top: int | None = None,
) -> pa.Table:
    """Return one row per record.

    Args:
        model: the model.
        predictions: its predictions.
        keys: the key of each row.
        reasons: why each row cannot be scored, or None.
        top: see `Task.to_columns`.
    """
    scorable = predictions.scorable
    thresholds = model.module.thresholds.numpy()
    columns: dict[str, Any] = {
        "__key__": keys,
        "status": pa.array(["ok" if ok else "failed" for ok in scorable], pa.string()),
        "reason": pa.array(reasons, pa.string()),
        **model.task.to_columns(predictions.scores, thresholds, scorable, top),
        **predictions.weight_columns(model.column_names),
    }
    return pa.table(columns)


def copy_columns(samples: pa.Table, names: Sequence[str], table: pa.Table) -> pa.Table:
    """Append columns of the samples table; a name that is taken gets the prefix `meta_`.

    Args:
        samples: rows of the samples table.
        names: the columns to copy.
        table: the predictions of the same rows.
    """
    for name, column in free_columns(names, table.column_names).items():
        table = table.append_column(samples.schema.field(name).with_name(column), samples[name])
    return table
