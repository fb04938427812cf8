"""Find records whose features occur in two splits. Such records inflate the metrics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from training.data.split_rule import TRAIN

_ALL_COLUMNS = "all columns"


@dataclass(frozen=True)
class Leakage:
    """Number of rows in each split whose features equal those of a training row.

    Attributes:
        rows: split → column, or `all columns` → rows.
    """

    rows: dict[str, dict[str, int]]

    @property
    def summary(self) -> str:
        """The leaks in words; empty text if there is none."""
        return "; ".join(
            f"{count:,} {split} rows have the same {_column_names(name, columns)} as a training row"
            for split, columns in self.rows.items()
            for name, count in columns.items()
            if count
        )

    @property
    def columns(self) -> list[str]:
        """The feature columns whose values occur in two splits."""
        found = dict.fromkeys(name for rows in self.rows.values() for name in rows if rows[name])
        return [name for name in found if name != _ALL_COLUMNS]


def _column_names(name: str, columns: Iterable[str]) -> str:
    """Return the name of a column, or of each if it stands for all."""
    if name != _ALL_COLUMNS:
        return name
    names = [column for column in columns if column != _ALL_COLUMNS]
    return ", ".join(names[:-1]) + f" and {names[-1]}"


def find_leakage(hashes: Mapping[str, np.ndarray], split_rows: Mapping[str, np.ndarray]) -> Leakage:
    """Compare the features of val and test with those of train.

    Args:
        hashes: column → result of `row_hashes` for all records.
        split_rows: split → int64 row numbers.
    """
    compared = dict(hashes)
    if len(compared) > 1:
        combined = np.zeros(len(next(iter(compared.values()))), np.uint64)
        for values in hashes.values():
            combined = combined * np.uint64(0x9E3779B97F4A7C15) + values
        compared[_ALL_COLUMNS] = combined
    training = split_rows[TRAIN]
    return Leakage(
        {
            split: {
                name: int((np.isin(values[rows], values[training]) & (values[rows] != 0)).sum())
                for name, values in compared.items()
            }
            for split, rows in split_rows.items()
            if split != TRAIN
        }
    )
