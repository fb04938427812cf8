"""Generated texts beside their references: the rows of the smallest and of the largest loss."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.report.prediction_batches import PredictionBatch

EXAMPLES = 12
"""Rows of the best, and of the worst, on a page."""

MAX_CHARACTERS = 1000
"""Characters of a text on a page."""

_MAX_REFERENCES = 5


@dataclass(frozen=True)
class TextExample:
    """A generated text.

    Attributes:
        references: the right texts, at most 5.
        text: the generated one.
        loss: mean loss of a token of the first reference.
        log_probability: mean log-probability of the generated tokens; None if unknown.
        absent: columns that the row lacks.
    """

    key: str
    shard: str
    references: list[str]
    text: str
    loss: float
    log_probability: float | None
    absent: list[str]

    @property
    def is_exact(self) -> bool:
        """Whether the text is one of the references, but for spaces."""
        return " ".join(self.text.split()) in {" ".join(r.split()) for r in self.references}


class TextExamples:
    """Keeps the rows with the smallest and with the largest losses.

    Attributes:
        best: smallest loss first.
        worst: largest loss first; rows that are among the best are left out.
    """

    def __init__(self, count: int = EXAMPLES) -> None:
        self._count = count
        self._best: list[TextExample] = []
        self._worst: list[TextExample] = []

    @property
    def best(self) -> list[TextExample]:
        """See the class."""
        return self._best

    @property
    def worst(self) -> list[TextExample]:
        """See the class."""
        known = {(row.shard, row.key) for row in self._best}
        return [row for row in self._worst if (row.shard, row.key) not in known]

    def add(self, batch: PredictionBatch) -> None:
        """Add the rows of a batch; rows without a loss are ignored."""
        losses = batch.numbers("loss")
        if losses is None:
            return
        self._best = self._merge(self._best, batch, losses, sign=1)
        self._worst = self._merge(self._worst, batch, losses, sign=-1)

    def _merge(
        self, rows: list[TextExample], batch: PredictionBatch, losses: np.ndarray, sign: int
    ) -> list[TextExample]:
        order = np.argsort(np.where(np.isnan(losses), math.inf, sign * losses), kind="stable")
        chosen = [int(row) for row in order[: self._count] if not math.isnan(losses[row])]
        added = [_read_row(batch, row, float(losses[row])) for row in chosen]
        return sorted([*rows, *added], key=lambda row: sign * row.loss)[: self._count]


def _read_row(batch: PredictionBatch, row: int, loss: float) -> TextExample:
    def cell(name: str) -> Any:
        return batch.table[name][row].as_py() if name in batch.table.column_names else None

    target, probability = cell("target"), cell("log_probability")
    texts = target if isinstance(target, list) else [target]
    pairs = zip(batch.schema.columns, batch.present[row], strict=True)
    return TextExample(
        key=str(cell("__key__")),
        shard=str(cell("shard") or ""),
        references=[str(text) for text in texts[:_MAX_REFERENCES] if text is not None],
        text=str(cell("prediction") or ""),
        loss=loss,
        log_probability=float(probability) if isinstance(probability, float) else None,
        absent=[name for name, is_present in pairs if not is_present],
    )
