"""Read predictions.parquet in batches, so that memory does not grow with the number of rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmfeat.store import iter_parquet, read_parquet

_MAX_NUMBERS = 1 << 20
"""Most numbers in a batch: 1,000 rows of 1,000 classes."""

_MAX_ROWS = 4096


@dataclass(frozen=True)
class PredictionSchema:
    """The columns of the predictions of a model.

    Attributes:
        task: multiclass, multilabel, regression or align.
        classes: classes of the model; empty for a regression.
        columns: names of its feature columns.
    """

    task: str
    classes: Sequence[str]
    columns: Sequence[str]


class PredictionBatch:
    """Some rows of one split."""

    def __init__(self, table: pa.Table, schema: PredictionSchema) -> None:
        self.table = table
        self.schema = schema
        self.rows: int = table.num_rows

    def numbers(self, name: str) -> np.ndarray | None:
        """Return a column as float64, NaN for null; None if the column does not exist."""
        return self._read(name) if name in self.table.column_names else None

    def _read(self, name: str) -> np.ndarray:
        column = self.table[name].cast(pa.float64())
        return np.asarray(pc.fill_null(column, float("nan")).to_numpy())

    @cached_property
    def probabilities(self) -> np.ndarray | None:
        """float64, shape (rows, classes); None if the file has no probabilities."""
        names = [f"p_{name}" for name in self.schema.classes]
        if self.schema.task == "multiclass" and "top_classes" in self.table.column_names:
            return self._top_probabilities()
        if not names or not {*names} <= {*self.table.column_names}:
            return None
        return np.stack([np.nan_to_num(self._read(name)) for name in names], axis=1)

    def _top_probabilities(self) -> np.ndarray:
        """Return the probabilities of the most likely classes, 0 for all others."""
        classes = self.table["top_classes"].combine_chunks()
        values = pc.list_flatten(self.table["top_probabilities"].combine_chunks())
        numbers = pc.index_in(
            pc.list_flatten(classes), value_set=pa.array(self.schema.classes, pa.string())
        )
        probabilities = np.zeros((self.rows, len(self.schema.classes)))
        rows = pc.list_parent_indices(classes).to_numpy()
        probabilities[rows, numbers.to_numpy()] = values.to_numpy()
        return probabilities

    @cached_property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and class index of each label that the model knows; a row may have several."""
        target = self.table["target"].combine_chunks()
        rows = np.arange(self.rows)
        if pa.types.is_list(target.type) or pa.types.is_large_list(target.type):
            rows = pc.list_parent_indices(target).to_numpy()
            target = pc.list_flatten(target)
        classes = pa.array(self.schema.classes, pa.string())
        codes = pc.index_in(target.cast(pa.string()), value_set=classes)
        codes = pc.fill_null(codes, -1).to_numpy()
        return rows[codes >= 0], codes[codes >= 0]

    @cached_property
    def present(self) -> np.ndarray:
        """Which modalities each row has, bool, shape (rows, columns)."""
        flags = [self._flags(f"present_{name}") for name in self.schema.columns]
        return np.stack(flags, axis=1) if flags else np.zeros((self.rows, 0), bool)

    def _flags(self, name: str) -> np.ndarray:
        """Return a column of bool; all true if the column does not exist."""
        if name not in self.table.column_names:
            return np.ones(self.rows, bool)
        return np.asarray(pc.fill_null(self.table[name], False).to_numpy().astype(bool))


def find_reported_split(path: str) -> str:
    """Return the split to report: `test`, or `val` if there are no test rows."""
    splits = read_parquet(path, ["split"], texts=["split"])["split"]
    return "test" if pc.any(pc.equal(splits, "test")).as_py() else "val"


def iter_batches(path: str, split: str, schema: PredictionSchema) -> Iterator[PredictionBatch]:
    """Yield the rows of a split in batches."""
    size = max(64, min(_MAX_ROWS, _MAX_NUMBERS // max(1, len(schema.classes))))
    for batch in iter_parquet(path, texts=["split", "shard"], batch_rows=size):
        rows = pa.Table.from_batches([batch])
        rows = rows.filter(pc.equal(rows["split"], split))
        if rows.num_rows:
            yield PredictionBatch(rows, schema)
