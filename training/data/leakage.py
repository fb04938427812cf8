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
            f"{count:,} {split} {'row has' if count == 1 else 'rows have'} the same "
            f"{_column_names(name, columns)} as a training row"
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
        hashes: column → result of `row_hashes` for all records. The arrays are overwritten.
        split_rows: split → int64 row numbers.
    """
    leaks: dict[str, dict[str, int]] = {split: {} for split in split_rows if split != TRAIN}
    combined: np.ndarray | None = None
    for name, values in hashes.items():
        _count_leaks(leaks, name, values, split_rows)
        if combined is None:
            combined = values
        else:
            combined *= np.uint64(0x9E3779B97F4A7C15)
            combined += values
    if combined is not None and len(hashes) > 1:
        _count_leaks(leaks, _ALL_COLUMNS, combined, split_rows)
    return Leakage(leaks)


def _count_leaks(
    leaks: dict[str, dict[str, int]],
    name: str,
    hashes: np.ndarray,
    split_rows: Mapping[str, np.ndarray],
) -> None:
    """Count the rows of each split whose hash a training row has. 0 stands for no feature."""
    training = np.sort(hashes[split_rows[TRAIN]])
    for split, counts in leaks.items():
        found = hashes[split_rows[split]]
        places = np.minimum(np.searchsorted(training, found), len(training) - 1)
        counts[name] = int(((training[places] == found) & (found != 0)).sum())
