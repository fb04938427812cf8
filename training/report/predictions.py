"""predictions.parquet, read in batches: only sums, and the few rows that are shown, are kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmfeat.store import files

_VALUES = 1 << 20
"""Numbers in a batch at most: 1,000 rows of 1,000 classes."""

_ROWS = 4096


@dataclass(frozen=True)
class Layout:
    """What the predictions of a model hold.

    Attributes:
        task: multiclass, multilabel, regression or align.
        classes: of the model; none for a regression.
        columns: names of its feature columns.
    """

    task: str
    classes: Sequence[str]
    columns: Sequence[str]


class Batch:
    """Some rows of the judged split."""

    def __init__(self, table: pa.Table, layout: Layout) -> None:
        self.table = table
        self.layout = layout
        self.rows: int = table.num_rows

    def numbers(self, name: str) -> np.ndarray | None:
        """A column as float64, NaN for null; None where there is no such column."""
        return self._read(name) if name in self.table.column_names else None

    def _read(self, name: str) -> np.ndarray:
        column = self.table[name].cast(pa.float64())
        return np.asarray(pc.fill_null(column, float("nan")).to_numpy())

    @cached_property
    def probabilities(self) -> np.ndarray | None:
        """float64, shape (rows, classes); None where the file has them not."""
        names = [f"p_{name}" for name in self.layout.classes]
        if not names or not {*names} <= {*self.table.column_names}:
            return None
        return np.stack([np.nan_to_num(self._read(name)) for name in names], axis=1)

    @cached_property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and class number of each label that the model knows; a row may have several."""
        target = self.table["target"].combine_chunks()
        rows = np.arange(self.rows)
        if pa.types.is_list(target.type) or pa.types.is_large_list(target.type):
            rows = pc.list_parent_indices(target).to_numpy()
            target = pc.list_flatten(target)
        known = pa.array(self.layout.classes, pa.string())
        codes = pc.index_in(target.cast(pa.string()), value_set=known)
        codes = pc.fill_null(codes, -1).to_numpy()
        return rows[codes >= 0], codes[codes >= 0]

    @cached_property
    def present(self) -> np.ndarray:
        """bool, shape (rows, columns): which modalities each row has."""
        found = [self._flags(f"present_{name}") for name in self.layout.columns]
        return np.stack(found, axis=1) if found else np.zeros((self.rows, 0), bool)

    def _flags(self, name: str) -> np.ndarray:
        """A column of bool; all true where there is no such column."""
        if name not in self.table.column_names:
            return np.ones(self.rows, bool)
        return np.asarray(pc.fill_null(self.table[name], False).to_numpy().astype(bool))


class Reader(Protocol):
    """Whatever looks at every row once."""

    def add(self, batch: Batch) -> None:
        """Take the rows in."""
        ...


def judged_split(path: str) -> tuple[str, int]:
    """The split to show, and its rows: the test split, or validation where there is none."""
    with files.open_input(path) as file, pq.ParquetFile(file) as table:
        splits = table.read(columns=["split"])["split"]
    counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(splits).to_pylist()}
    split = "test" if counts.get("test") else "val"
    return split, counts.get(split, 0)


def batches(path: str, split: str, layout: Layout) -> Iterator[Batch]:
    """The rows of a split, some at a time."""
    size = max(64, min(_ROWS, _VALUES // max(1, len(layout.classes))))
    with files.open_input(path) as file, pq.ParquetFile(file) as table:
        for batch in table.iter_batches(batch_size=size):
            rows = pa.Table.from_batches([batch])
            rows = rows.filter(pc.equal(rows["split"], split))
            if rows.num_rows:
                yield Batch(rows, layout)
