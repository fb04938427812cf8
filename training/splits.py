"""Which rows train, which choose, which judge.

A rule is recorded in the model, so that the same record falls on the same side ever after.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmfeat.splits import NAMES, SPLITS

TRAIN, VAL, TEST = SPLITS
NOWHERE = ""
"""The split of a row whose split column says none of the names below."""

CARVED = 0.1
"""Part of the training rows that become validation where the column names none."""


@dataclass(frozen=True)
class SplitRule:
    """From a row's key and its split column to its split."""

    column: str = ""
    """Column of the samples table; empty = 80/10/10 by a hash of the key."""
    carve: bool = False
    """Whether a tenth of the training rows, by a hash of the key, is validation."""

    def assign(self, keys: Sequence[str], values: Iterable[object]) -> np.ndarray:
        """The split of each row: `train`, `val`, `test` or `NOWHERE`.

        Args:
            keys: the `__key__` of each row.
            values: what the split column says; not looked at without a column.
        """
        if not self.column:
            splits = [_by_hash(key) for key in keys]
        else:
            splits = [NAMES.get(str(value).strip().lower(), NOWHERE) for value in values]
        if self.carve:
            splits = [
                VAL if split == TRAIN and fraction(key, "carve") < CARVED else split
                for key, split in zip(keys, splits, strict=True)
            ]
        return np.array(splits, dtype="<U5")

    def __str__(self) -> str:
        how = f"column {self.column!r}" if self.column else "80/10/10 by a hash of the key"
        return f"{how}, validation carved from train" if self.carve else how


def _by_hash(key: str) -> str:
    where = fraction(key, "split")
    return TRAIN if where < 0.8 else VAL if where < 0.9 else TEST


def fraction(key: str, salt: str) -> float:
    """A number in [0, 1) that depends on the key and the salt alone, the same everywhere."""
    digest = hashlib.sha256(f"{salt}\n{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
