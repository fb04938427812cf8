"""The rows a model is most wrong about."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.report.predictions import Batch


@dataclass(frozen=True)
class Judged:
    """A label, and what the model says of it.

    Attributes:
        probability: of the label; None where the model does not know it.
        is_true: whether the record has it.
        is_predicted: whether the model says so.
    """

    label: str
    probability: float | None
    is_true: bool
    is_predicted: bool


@dataclass(frozen=True)
class WorstRow:
    """A row with a large loss.

    Attributes:
        target: the true value of a regression, else None; the labels then stand in `judged`.
        weights: column → weight of the modality, of those the row has.
        absent: columns that the row lacks.
    """

    key: str
    shard: str
    loss: float
    judged: list[Judged]
    target: float | None
    prediction: float | None
    weights: dict[str, float]
    absent: list[str]

    @property
    def is_right(self) -> bool:
        """Whether the prediction is right, however unsure it was."""
        return bool(self.judged) and all(j.is_true == j.is_predicted for j in self.judged)


class WorstRows:
    """Keeps the rows with the largest losses; rows without a loss cannot be ranked.

    Attributes:
        rows: the largest loss first.
    """

    def __init__(self, count: int) -> None:
        self.rows: list[WorstRow] = []
        self._count = count

    def add(self, batch: Batch) -> None:
        """Take the rows in."""
        losses = batch.numbers("loss")
        if losses is None or not self._count:
            return
        least = self.rows[-1].loss if len(self.rows) == self._count else -math.inf
        order = np.argsort(np.where(np.isnan(losses), math.inf, -losses), kind="stable")
        chosen = [int(row) for row in order[: self._count] if losses[row] > least]
        self.rows += [_row(batch, row, float(losses[row])) for row in chosen]
        self.rows.sort(key=lambda row: -row.loss)
        del self.rows[self._count :]


def _row(batch: Batch, row: int, loss: float) -> WorstRow:
    facts = {
        name: batch.table[name][row].as_py()
        for name in batch.table.column_names
        if not name.startswith("p_")
    }
    columns = batch.layout.columns
    there = {name for name, has in zip(columns, batch.present[row], strict=True) if has}
    target, prediction = facts["target"], facts["prediction"]
    is_number = isinstance(target, float | int) and batch.layout.task == "regression"
    return WorstRow(
        key=facts["__key__"],
        shard=facts.get("shard") or "",
        loss=loss,
        judged=_judged(batch, row, _set(target), _set(prediction)) if batch.layout.classes else [],
        target=float(target) if is_number else None,
        prediction=float(prediction) if is_number and prediction is not None else None,
        weights={
            name: facts[f"w_{name}"]
            for name in columns
            if name in there and facts.get(f"w_{name}") is not None
        },
        absent=[name for name in columns if name not in there],
    )


def _judged(batch: Batch, row: int, true: list[str], said: list[str]) -> list[Judged]:
    """The labels that are true or predicted, true ones first."""
    labels = dict.fromkeys([*true, *said])
    return [
        Judged(label, _probability(batch, row, label), label in true, label in said)
        for label in labels
    ]


def _probability(batch: Batch, row: int, label: str) -> float | None:
    name = f"p_{label}"
    if label not in batch.layout.classes or name not in batch.table.column_names:
        return None
    value: float | None = batch.table[name][row].as_py()
    return value


def _set(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]
