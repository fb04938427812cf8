"""Records that stand in two splits: identical features on both sides flatter the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.data.splits import TRAIN

_WORDS = np.uint16


def row_hashes(features: np.ndarray, present: np.ndarray) -> np.ndarray:
    """A 64-bit number for each row's vector, equal for equal vectors; 0 where there is none.

    Args:
        features: float16 or float32, shape (rows, dim).
        present: bool, shape (rows,).
    """
    words = np.ascontiguousarray(features).view(_WORDS)
    factors = np.random.default_rng(0).integers(1, 2**63, words.shape[1], np.uint64) * 2 + 1
    hashes = np.zeros(len(words), np.uint64)
    for number, factor in enumerate(factors):
        hashes += words[:, number].astype(np.uint64) * factor
    return np.where(present, hashes, 0)


@dataclass(frozen=True)
class Leakage:
    """How many rows of a split have features that a training row has too.

    Attributes:
        rows: split → column, or `all columns` → rows.
    """

    rows: dict[str, dict[str, int]]

    @property
    def worst(self) -> str:
        """What to tell a person; empty text where nothing is amiss."""
        return "; ".join(
            f"{count:,} {split} rows have the same {name} as a training row"
            for split, columns in self.rows.items()
            for name, count in columns.items()
            if count
        )


def find_leakage(hashes: Mapping[str, np.ndarray], parts: Mapping[str, np.ndarray]) -> Leakage:
    """Compare the splits.

    Args:
        hashes: column → as `row_hashes` gives them, shape (records,).
        parts: split → int64 indices.
    """
    views = dict(hashes)
    if len(views) > 1:
        joined = np.zeros(len(next(iter(views.values()))), np.uint64)
        for values in hashes.values():
            joined = joined * np.uint64(0x9E3779B97F4A7C15) + values
        views["all columns"] = joined
    found: dict[str, dict[str, int]] = {}
    for split, rows in parts.items():
        if split != TRAIN:
            found[split] = {
                name: int((np.isin(values[rows], values[parts[TRAIN]]) & (values[rows] != 0)).sum())
                for name, values in views.items()
            }
    return Leakage(found)
