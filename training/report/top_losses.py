"""Find the records to show: the largest losses, and some of each cell of the confusion matrix."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmfeat.inspection import PreviewRow, make_row
from training.report.charts.confusion import ConfusionSummary
from training.report.prediction_batches import PredictionBatch

ROWS_PER_CELL = 3
"""Most records of a cell of the confusion matrix that are kept beside the largest losses."""

_CELL_ROWS = 72
"""Most records of all cells."""

Cell = tuple[str, str]
"""True class and predicted class."""


@dataclass(frozen=True)
class ReportedRow:
    """A record that a report shows.

    Attributes:
        row: what the predictions know of it.
        loss: its loss.
        subset: the modalities that it has, joined by `+`.
    """

    row: PreviewRow
    loss: float
    subset: str


class TopLosses:
    """Keeps the rows with the largest losses; rows without a loss are ignored.

    Attributes:
        rows: largest loss first.
    """

    def __init__(self, count: int) -> None:
        self.rows: list[ReportedRow] = []
        self._count = count

    def add(self, batch: PredictionBatch) -> None:
        """Add the rows of a batch."""
        losses = batch.numbers("loss")
        if losses is not None:
            self.add_rows(batch, losses, np.arange(batch.rows))

    def add_rows(self, batch: PredictionBatch, losses: np.ndarray, rows: np.ndarray) -> None:
        """Add some rows of a batch.

        Args:
            batch: the batch.
            losses: float64, shape (all rows of the batch,).
            rows: int64, shape (n,).
        """
        if not self._count:
            return
        threshold = self.rows[-1].loss if len(self.rows) == self._count else -math.inf
        own = losses[rows]
        order = np.argsort(np.where(np.isnan(own), math.inf, -own), kind="stable")
        chosen = [int(rows[i]) for i in order[: self._count] if own[i] > threshold]
        self.rows += [_read_row(batch, row, float(losses[row])) for row in chosen]
        self.rows.sort(key=lambda row: -row.loss)
        del self.rows[self._count :]


class CellRows:
    """Keeps rows of cells of a confusion matrix, those with the largest losses.

    Args:
        cells: cell → number of its rows to keep.
    """

    def __init__(self, cells: Mapping[Cell, int]) -> None:
        self._classes = list(dict.fromkeys(name for cell in cells for name in cell))
        numbers = {name: number for number, name in enumerate(self._classes)}
        self._kept = {
            numbers[true] * len(numbers) + numbers[predicted]: TopLosses(count)
            for (true, predicted), count in cells.items()
        }

    @property
    def rows(self) -> list[ReportedRow]:
        """All kept rows, largest loss first."""
        rows = [row for kept in self._kept.values() for row in kept.rows]
        return sorted(rows, key=lambda row: -row.loss)

    def add(self, batch: PredictionBatch) -> None:
        """Add the rows of a batch."""
        losses = batch.numbers("loss")
        if losses is None or not self._kept or batch.schema.task != "multiclass":
            return
        true, predicted = self._codes(batch, "target"), self._codes(batch, "prediction")
        cells = np.where((true < 0) | (predicted < 0), -1, true * len(self._classes) + predicted)
        for cell in np.unique(cells).tolist():
            if cell in self._kept:
                self._kept[cell].add_rows(batch, losses, np.flatnonzero(cells == cell))

    def _codes(self, batch: PredictionBatch, column: str) -> np.ndarray:
        """Return the number of the class of each row, -1 for others: int64, shape (rows,)."""
        values = batch.table[column].cast(pa.string())
        codes = pc.index_in(values, value_set=pa.array(self._classes, pa.string()))
        return np.asarray(pc.fill_null(codes, -1).to_numpy()).astype(np.int64)


def choose_cells(confusion: ConfusionSummary | None) -> dict[Cell, int]:
    """Return the cells whose records a page shows, and how many of each.

    Errors come first, the most frequent ones before others; then right predictions.
    """
    if confusion is None:
        return {}
    counts = {
        (true, predicted): confusion.counts[i][j]
        for i, true in enumerate(confusion.classes)
        for j, predicted in enumerate(confusion.classes)
    }
    counts |= {(true, predicted): rows for true, predicted, rows, _ in confusion.pairs}
    ordered = sorted(counts.items(), key=lambda item: (item[0][0] == item[0][1], -item[1]))
    chosen: dict[Cell, int] = {}
    free = _CELL_ROWS
    for (true, predicted), count in ordered:
        kept = min(free, count, ROWS_PER_CELL if true != predicted else 1)
        if kept > 0:
            chosen[true, predicted] = kept
            free -= kept
    return chosen


def _read_row(batch: PredictionBatch, row: int, loss: float) -> ReportedRow:
    values = {name: batch.table[name][row].as_py() for name in batch.table.column_names}
    columns = batch.schema.columns
    present = [name for name, has in zip(columns, batch.present[row], strict=True) if has]
    weights = {f"w_{name}" for name in columns if name not in present}
    known = {k: v for k, v in values.items() if k not in weights and k != "split"}
    return ReportedRow(make_row(known, "", ""), loss, "+".join(present))
