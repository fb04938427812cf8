"""The rows of one shard, as every format writes them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from mmfeat.features import ColumnShard


@dataclass(frozen=True)
class Vectors:
    """The vectors of one column for the rows of a shard.

    Attributes:
        features: float16 or float32, shape (rows, dim); of a token column (all tokens, dim).
        present: bool, shape (rows,).
        reasons: why each row has no vector; None if it has one.
        offsets: int64, shape (rows + 1,), of a token column; None = one vector per row.
    """

    features: np.ndarray
    present: np.ndarray
    reasons: list[str | None]
    offsets: np.ndarray | None = None

    @classmethod
    def select(cls, column: ColumnShard, rows: np.ndarray, dtype: str) -> Self:
        """Return the vectors of some rows of a feature column.

        Args:
            column: the column.
            rows: int64, shape (n,), ascending.
            dtype: `float16`, `float32`, or empty for the stored one.
        """
        reasons = column.reasons.take(pa.array(rows)).to_pylist()
        present = column.present[rows]
        if column.offsets is None:
            features = column.features[rows]
            return cls(features.astype(dtype or features.dtype, copy=False), present, reasons)
        counts = np.diff(column.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        starts = np.repeat(column.offsets[rows] - offsets[:-1], counts)
        features = column.features[starts + np.arange(offsets[-1])]
        return cls(features.astype(dtype or features.dtype, copy=False), present, reasons, offsets)

    def vectors(self, row: int) -> np.ndarray:
        """Return the vector of a row: shape (dim,), or (tokens, dim)."""
        if self.offsets is None:
            return self.features[row]
        return self.features[self.offsets[row] : self.offsets[row + 1]]

    def to_arrow(self, *, fixed: bool) -> pa.Array:
        """Return the vectors as lists of numbers, or as lists of such lists; null where absent.

        Args:
            fixed: as fixed-size lists. Arrow cannot read a null one from Parquet, so every row
                must have a vector.
        """
        mask, dim = pa.array(~self.present), self.features.shape[1]
        values = pa.array(self.features.reshape(-1))
        if self.offsets is not None:
            tokens = pa.FixedSizeListArray.from_arrays(values, dim)
            offsets = pa.array(self.offsets.astype(np.int32))
            return pa.ListArray.from_arrays(offsets, tokens, mask=mask)
        if fixed:
            assert self.present.all()
            return pa.FixedSizeListArray.from_arrays(values, dim)
        counts = np.where(self.present, dim, 0)
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        kept = pa.array(self.features[self.present].reshape(-1))
        return pa.ListArray.from_arrays(offsets, kept, mask=mask)


@dataclass(frozen=True)
class ExportRows:
    """The rows of one shard.

    Attributes:
        shard: name of the shard.
        table: `__key__` and the other columns, without vectors.
        vectors: column → its vectors.
    """

    shard: str
    table: pa.Table
    vectors: dict[str, Vectors]

    @property
    def keys(self) -> list[str]:
        """The key of each row."""
        keys: list[str] = self.table["__key__"].to_pylist()
        return keys

    def complete(self) -> np.ndarray:
        """Return which rows have every vector: bool, shape (rows,)."""
        present = np.ones(len(self.table), bool)
        for vectors in self.vectors.values():
            present &= vectors.present
        return present

    def missing_reasons(self) -> list[str]:
        """Return why each incomplete row lacks a vector: `image:missing, text:too_long`."""
        return [
            ", ".join(
                f"{name}:{vectors.reasons[row] or 'missing'}"
                for name, vectors in self.vectors.items()
                if not vectors.present[row]
            )
            for row in np.flatnonzero(~self.complete()).tolist()
        ]
