"""Which rows train, which choose, which judge.

A rule is recorded in the model, so that the same record falls on the same side ever after.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mmfeat.records.splits import NAMES, SPLITS

TRAIN, VAL, TEST = SPLITS
NOWHERE = ""
"""The split of a row whose split column says none of the names below."""

_CODES = (*SPLITS, NOWHERE)

CUTS = (0.8, 0.9)
"""Where training ends and where validation does, as parts of the records."""

CARVED = 0.1
"""Part of the training rows that become validation where the column names none."""


@dataclass(frozen=True)
class SplitRule:
    """From a row's key, its group and its split column to its split."""

    column: str = ""
    """Column of the samples table; empty = 80/10/10 by a hash."""
    group: str = ""
    """Column whose value is hashed, so that no value stands in two splits; empty = the key."""
    cuts: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Label → where the hash ends training and validation, if splits are to have like parts of
    each label; empty = at `CUTS` for all."""
    carve: bool = False
    """Whether a tenth of the training rows, by the hash, is validation."""

    def __post_init__(self) -> None:
        # JSON, in which the rule is kept, knows no tuples.
        cuts = {label: (first, second) for label, (first, second) in self.cuts.items()}
        object.__setattr__(self, "cuts", cuts)

    @property
    def columns(self) -> list[str]:
        """The columns of the samples table it looks at."""
        return [name for name in (self.column, self.group) if name]

    def hashed(self, keys: Sequence[str], groups: Sequence[object]) -> list[str]:
        """What of each row is hashed: its group, or its key where it has none."""
        if not self.group:
            return list(keys)
        return [
            key if group is None else str(group) for key, group in zip(keys, groups, strict=True)
        ]

    def assign(
        self,
        hashed: Sequence[str],
        values: Iterable[object] = (),
        labels: Iterable[object] = (),
    ) -> np.ndarray:
        """The split of each row: `train`, `val`, `test` or `NOWHERE`.

        Args:
            hashed: as `hashed` gives them.
            values: what the split column says; not looked at without a column.
            labels: what the target says; looked at where there are cuts.
        """
        if self.column:
            splits = [NAMES.get(str(value).strip().lower(), NOWHERE) for value in values]
        elif self.cuts:
            splits = [
                by_hash(text, self.cuts.get(str(label), CUTS))
                for text, label in zip(hashed, labels, strict=True)
            ]
        else:
            splits = [by_hash(text, CUTS) for text in hashed]
        if self.carve:
            splits = [
                VAL if split == TRAIN and fraction(text, "carve") < CARVED else split
                for text, split in zip(hashed, splits, strict=True)
            ]
        return np.array(splits, dtype="<U5")

    def __str__(self) -> str:
        if self.column:
            how = f"column {self.column!r}"
        else:
            how = f"80/10/10 by a hash of {f'column {self.group!r}' if self.group else 'the key'}"
        if self.cuts:
            how += ", each label alike"
        return f"{how}, validation carved from train" if self.carve else how


def encode(splits: np.ndarray) -> np.ndarray:
    """Names of splits as int8, one byte a row where text takes twenty."""
    return np.select([splits == name for name in _CODES], np.arange(len(_CODES), dtype=np.int8))


def decode(code: int) -> str:
    """The split that a number of `encode` stands for."""
    return _CODES[code]


def by_hash(text: str, cuts: tuple[float, float]) -> str:
    """The split where the hash of a text falls."""
    where = fraction(text, "split")
    return TRAIN if where < cuts[0] else VAL if where < cuts[1] else TEST


def stratified_cuts(
    labels: Sequence[object], fractions: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Where to cut the rows of each label so that 80, 10 and 10 in a hundred of them fall apart.

    A label with fewer than ten rows is cut where all are: parts of one row there are not.

    Args:
        labels: of each row; None for none.
        fractions: where each row's hash falls, shape (rows,).
    """
    names = np.array([None if label is None else str(label) for label in labels], object)
    cuts = {}
    for name in sorted({name for name in names if name is not None}):
        there = np.sort(fractions[names == name])
        if len(there) >= 10:
            first, second = (there[round(part * len(there))] for part in CUTS)
            cuts[name] = (float(first), float(second))
    return cuts


def fraction(text: str, salt: str) -> float:
    """A number in [0, 1) that depends on the text and the salt alone, the same everywhere."""
    digest = hashlib.sha256(f"{salt}\n{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
