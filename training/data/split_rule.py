"""Assign records to the splits train, val and test.

The model keeps the rule, so a record always falls into the same split.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mmfeat.records import SPLIT_NAMES, SPLITS, canonical_text, is_missing
from mmfeat.storage import check_value

TRAIN, VAL, TEST = SPLITS
BY_VALUE, BY_TEXT = "value", "text"

UNASSIGNED = ""
"""The split of a row whose split column holds none of the known names."""

_CODES = (*SPLITS, UNASSIGNED)

CUTS = (0.8, 0.9)
"""Hash values where train and val end."""

CARVED_FRACTION = 0.1
"""Fraction of the training rows that become validation if there are no val rows."""


@dataclass(frozen=True)
class SplitRule:
    """Rule that maps a row's key, group and split column to a split."""

    column: str = ""
    """Split column of the samples table. Empty = 80/10/10 by a hash."""
    group: str = ""
    """Column whose value is hashed, so that all rows of a value share a split. Empty = the key."""
    cuts: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Label → hash values where train and val end, for a stratified split. Empty = `CUTS`."""
    carve: bool = False
    """Whether training rows with a low hash are validation."""
    carve_below: float = CARVED_FRACTION
    """Hash value up to which training rows are carved: a tenth of many keys or groups."""
    group_by: str = BY_VALUE
    """What is hashed of a group: `value`, so that equal values share a split however they are
    written; or `text`, as in models of older versions, whose rows must stay in their splits."""
    duplicates: str = ""
    """Output of `mmfeat dedup`, whose groups are hashed instead of a column. Empty = none."""
    duplicates_sha256: str = ""
    """Digest of these groups."""

    def __post_init__(self) -> None:
        # JSON has no tuples; a rule read from config.json has lists.
        cuts = {_label_text(label): (first, second) for label, (first, second) in self.cuts.items()}
        object.__setattr__(self, "cuts", cuts)

    @property
    def flags(self) -> dict[str, str]:
        """Flag → the column of the samples table that it names; empty = none."""
        return {"--split-column": self.column, "--group-column": self.group}

    @property
    def columns(self) -> list[str]:
        """Columns of the samples table that the rule reads."""
        return [name for name in self.flags.values() if name]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "SplitRule":
        """Return the rule of a model from the entry of its config.json.

        Raises:
            DamagedFileError: an entry has another type.
        """
        older = {"group_by": BY_TEXT} if config.get("group") else {}
        return check_value({**older, **config}, cls, "the split rule of the model")

    @property
    def config(self) -> dict[str, Any]:
        """The entry of config.json, without fields that do not apply."""
        settings = asdict(self)
        if not self.group:
            del settings["group_by"]
        if not self.duplicates:
            del settings["duplicates"], settings["duplicates_sha256"]
        if self.carve_below == CARVED_FRACTION:
            del settings["carve_below"]
        return settings

    @property
    def has_groups(self) -> bool:
        """Whether rows of a group share a split."""
        return bool(self.group or self.duplicates)

    def hash_inputs(self, keys: Sequence[str], groups: Sequence[object]) -> list[str]:
        """Return the text to hash for each row: its group, or its key if it has no group."""
        if not self.has_groups:
            return list(keys)
        if self.group_by == BY_TEXT:
            texts = [None if group is None else str(group) for group in groups]
        else:
            texts = [None if is_missing(group) else canonical_text(group) for group in groups]
        return [key if text is None else text for key, text in zip(keys, texts, strict=True)]

    def assign(
        self,
        hash_inputs: Sequence[str],
        values: Iterable[object] = (),
        labels: Iterable[object] = (),
    ) -> np.ndarray:
        """Return the split of each row: `train`, `val`, `test` or `UNASSIGNED`.

        Args:
            hash_inputs: result of `hash_inputs`.
            values: values of the split column. Ignored without a split column.
            labels: targets as text. Ignored without cuts.
        """
        if self.column:
            splits = [
                SPLIT_NAMES.get(str(value).strip().casefold(), UNASSIGNED) for value in values
            ]
        elif self.cuts:
            splits = [
                _split_of(text, self.cuts.get(_label_text(label), CUTS))
                for text, label in zip(hash_inputs, labels, strict=True)
            ]
        else:
            splits = [_split_of(text, CUTS) for text in hash_inputs]
        if self.carve:
            splits = [
                VAL if split == TRAIN and carve_fraction(text) < self.carve_below else split
                for text, split in zip(hash_inputs, splits, strict=True)
            ]
        return np.array(splits, dtype="<U5")

    def __str__(self) -> str:
        if self.column:
            text = f"column {self.column!r}"
        else:
            hashed = f"column {self.group!r}" if self.group else "the key"
            if self.duplicates:
                hashed = f"the near-duplicates in {self.duplicates}"
            text = f"80/10/10 by a hash of {hashed}"
        if self.cuts:
            text += ", stratified by label"
        return f"{text}, validation carved from train" if self.carve else text


def encode_splits(splits: np.ndarray) -> np.ndarray:
    """Return split names as int8 codes: one byte per row instead of twenty."""
    return np.select([splits == name for name in _CODES], np.arange(len(_CODES), dtype=np.int8))


def decode_split(code: int) -> str:
    """Return the split name of a code from `encode_splits`."""
    return _CODES[code]


def stratified_cuts(
    labels: Sequence[object], fractions: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Return cuts that split the rows of each label 80/10/10.

    A label with fewer than ten rows gets no cuts of its own.

    Args:
        labels: label of each row; None = no label.
        fractions: hash value of each row, shape (rows,).
    """
    names = np.array([None if label is None else _label_text(label) for label in labels], object)
    cuts = {}
    for name in sorted({name for name in names if name is not None}):
        ordered = np.sort(fractions[names == name])
        if len(ordered) >= 10:
            first, second = (ordered[round(cut * len(ordered))] for cut in CUTS)
            cuts[name] = (float(first), float(second))
    return cuts


def _label_text(label: object) -> str:
    """Return a text that equal labels share. A list of labels has the text of Python."""
    return canonical_text(label if isinstance(label, str) else str(label))


def hash_fraction(text: str, salt: str) -> float:
    """Return a number in [0, 1) that depends only on the text and the salt."""
    digest = hashlib.sha256(f"{salt}\n{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def carve_fraction(text: str) -> float:
    """Return the hash that decides whether a training row is carved for validation."""
    return hash_fraction(text, "carve")


def _split_of(text: str, cuts: tuple[float, float]) -> str:
    value = hash_fraction(text, "split")
    return TRAIN if value < cuts[0] else VAL if value < cuts[1] else TEST
