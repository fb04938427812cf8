"""The rows of predictions: status, reason, scores and weights, and columns of the samples table."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmfeat.config import choose_names
from mmfeat.errors import check_names
from mmfeat.features import ColumnShard
from mmfeat.records import free_columns

if TYPE_CHECKING:
    from mmfeat.models.inference import Predictions
    from mmfeat.models.saved_model import LoadedModel
    from mmfeat.models.tasks import Task
    from mmfeat.scoring.predicting import ModelOutput, ScoredModel


def choose_columns(flags: Sequence[str], available: Sequence[str], store: str) -> list[str]:
    """Return the columns of the samples table that --columns names; the key is always there.

    Args:
        flags: values of --columns.
        available: columns of the samples table.
        store: the input, for errors.

    Raises:
        MmfeatError: the samples table lacks one.
    """
    names = choose_names(flags, available, _no_column(store, "--columns"))
    return [name for name in names if name != "__key__"]


def check_column_name(name: str, available: Sequence[str], store: str, flag: str) -> None:
    """Check that the samples table has a column that a flag names.

    Raises:
        MmfeatError: it has not.
    """
    check_names([name], available, _no_column(store, flag))


def _no_column(store: str, flag: str) -> str:
    return f"the samples table of {store} has no column of that name ({flag})"


def find_reasons(
    scorable: np.ndarray, columns: Mapping[str, ColumnShard], deadly: Collection[int]
) -> list[str | None]:
    """Return why each row cannot be scored, or None.

    It is the reasons of the missing columns, or `not_finite` if the model gives NaN.

    Args:
        scorable: bool, shape (rows,).
        columns: the columns of the model.
        deadly: rows that kill the process that scores them.
    """
    reasons: list[str | None] = [None] * len(scorable)
    rows = np.flatnonzero(~scorable)
    taken = {name: column.reasons.take(rows).to_pylist() for name, column in columns.items()}
    for number, row in enumerate(rows.tolist()):
        missing = ", ".join(
            f"{name}:{found[number]}" for name, found in taken.items() if found[number] is not None
        )
        reasons[row] = "worker_died" if row in deadly else missing or "not_finite"
    return reasons


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
    states = status_columns([predictions.scorable], [reasons], [""])
    return pa.table({"__key__": keys, **states, **score_columns(model, predictions, top)})


def score_columns(
    model: "LoadedModel", predictions: "Predictions", top: int | None
) -> dict[str, pa.Array]:
    """Return the prediction, the scores and the modality weights."""
    thresholds = model.module.thresholds.numpy()
    return {
        **model.task.to_columns(predictions.scores, thresholds, predictions.scorable, top),
        **predictions.weight_columns(model.column_names),
    }


def output_columns(
    model: "ScoredModel", output: "ModelOutput", top: int | None
) -> dict[str, pa.Array]:
    """Return all columns of a model; if there are several models, with its prefix."""
    loaded, scorable = model.loaded, output.predictions.scorable
    columns = score_columns(loaded, output.predictions, top)
    if output.changes is not None:
        for number, name in enumerate(loaded.column_names):
            values = output.changes[:, number]
            mask = ~scorable | np.isnan(values)
            columns[f"without_{name}"] = pa.array(values, pa.float32(), mask=mask)
    if output.embedding is not None:
        columns["embedding"] = _vector_lists(output.embedding, scorable)
    return {f"{model.prefix}{name}": values for name, values in columns.items()}


def _vector_lists(vectors: np.ndarray, valid: np.ndarray) -> pa.Array:
    """Return vectors as lists, null if not valid.

    Arrow does not read null lists of a fixed size from Parquet files.
    """
    offsets = np.r_[0, np.cumsum(valid) * vectors.shape[1]]
    masked = pa.array(offsets, pa.int32(), mask=np.r_[~valid, False])
    return pa.ListArray.from_arrays(masked, pa.array(vectors[valid].reshape(-1)))


def status_columns(
    scorable: Sequence[np.ndarray],
    reasons: Sequence[Sequence[str | None]],
    names: Sequence[str],
) -> dict[str, pa.Array]:
    """Return `status` and `reason` of each record.

    A record is `ok` if all models score it, `failed` if none does, else `partial`.

    Args:
        scorable: for each model bool, shape (rows,).
        reasons: for each model why each row cannot be scored.
        names: names of the models; empty for a single one.
    """
    if len(scorable) == 1:
        labels = np.where(scorable[0], "ok", "failed").astype(object)
        return {
            "status": pa.array(labels, pa.string()),
            "reason": pa.array(reasons[0], pa.string()),
        }
    count = np.sum(scorable, axis=0)
    labels = np.full(len(count), "partial", object)
    labels[count == len(scorable)], labels[count == 0] = "ok", "failed"
    joined: list[str | None] = [None] * len(count)
    for row in np.flatnonzero(count < len(scorable)).tolist():
        found = [(name, of_model[row]) for name, of_model in zip(names, reasons, strict=True)]
        joined[row] = "; ".join(f"{name}: {reason}" for name, reason in found if reason)
    return {"status": pa.array(labels, pa.string()), "reason": pa.array(joined, pa.string())}


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


def make_rows(
    outputs: Sequence[tuple["ScoredModel", "ModelOutput"]],
    columns: Mapping[str, ColumnShard],
    keys: Any,
    deadly: Collection[int],
    top: int | None,
) -> pa.Table:
    """Return one row per record with the predictions of all models.

    Args:
        outputs: each model and its output.
        columns: the columns of the shard.
        keys: the key of each row.
        deadly: as for `find_reasons`.
        top: see `Task.to_columns`.
    """
    scorable = [output.predictions.scorable for _, output in outputs]
    reasons = [
        find_reasons(
            output.predictions.scorable,
            {name: columns[name] for name in model.loaded.column_names},
            deadly,
        )
        for model, output in outputs
    ]
    table: dict[str, Any] = {"__key__": keys}
    table |= status_columns(scorable, reasons, [model.name for model, _ in outputs])
    for model, output in outputs:
        table |= output_columns(model, output, top)
    return pa.table(table)
