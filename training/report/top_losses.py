"""Find the rows with the largest losses."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.report.prediction_batches import PredictionBatch


@dataclass(frozen=True)
class RowLabel:
    """A label of a row, true or predicted.

    Attributes:
        probability: predicted probability; None if the model does not know the label.
    """

    label: str
    probability: float | None
    is_true: bool
    is_predicted: bool


@dataclass(frozen=True)
class TopLossRow:
    """A row with a large loss.

    Attributes:
        labels: true and predicted labels; empty for a regression.
        target, prediction: values of a regression, else None.
        weights: column → modality weight, of the columns the row has.
        absent: columns the row lacks.
    """

    key: str
    shard: str
    loss: float
    labels: list[RowLabel]
    target: float | None
    prediction: float | None
    weights: dict[str, float]
    absent: list[str]


class TopLosses:
    """Keeps the rows with the largest losses; rows without a loss are ignored.

    Attributes:
        rows: largest loss first.
    """

    def __init__(self, count: int) -> None:
        self.rows: list[TopLossRow] = []
        self._count = count

    def add(self, batch: PredictionBatch) -> None:
        """Add the rows of a batch."""
        losses = batch.numbers("loss")
        if losses is None or not self._count:
            return
        threshold = self.rows[-1].loss if len(self.rows) == self._count else -math.inf
        order = np.argsort(np.where(np.isnan(losses), math.inf, -losses), kind="stable")
        chosen = [int(row) for row in order[: self._count] if losses[row] > threshold]
        self.rows += [_read_row(batch, row, float(losses[row])) for row in chosen]
        self.rows.sort(key=lambda row: -row.loss)
        del self.rows[self._count :]


def _read_row(batch: PredictionBatch, row: int, loss: float) -> TopLossRow:
    values = {
        name: batch.table[name][row].as_py()
        for name in batch.table.column_names
        if not name.startswith("p_")
    }
    columns = batch.schema.columns
    present = {name for name, has in zip(columns, batch.present[row], strict=True) if has}
    target, prediction = values["target"], values["prediction"]
    is_number = isinstance(target, float | int) and batch.schema.task == "regression"
    return TopLossRow(
        key=values["__key__"],
        shard=values.get("shard") or "",
        loss=loss,
        labels=_row_labels(batch, row, target, prediction) if batch.schema.classes else [],
        target=float(target) if is_number else None,
        prediction=float(prediction) if is_number and prediction is not None else None,
        weights={
            name: values[f"w_{name}"]
            for name in columns
            if name in present and values.get(f"w_{name}") is not None
        },
        absent=[name for name in columns if name not in present],
    )


def _row_labels(batch: PredictionBatch, row: int, target: Any, prediction: Any) -> list[RowLabel]:
    """Return the true labels, then the other predicted labels."""
    true, predicted = _to_labels(target), _to_labels(prediction)
    return [
        RowLabel(label, _probability(batch, row, label), label in true, label in predicted)
        for label in dict.fromkeys([*true, *predicted])
    ]


def _probability(batch: PredictionBatch, row: int, label: str) -> float | None:
    name = f"p_{label}"
    if label not in batch.schema.classes or name not in batch.table.column_names:
        return None
    value: float | None = batch.table[name][row].as_py()
    return value


def _to_labels(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]
