"""The training data in memory: one float16 array a feature column, filled shard by shard."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureStore
from training.samples import Rows, check_metadata, count, join_rows, read_rows
from training.splits import NAMES, SPLITS, TRAIN, VAL, SplitRule
from training.targets import encode, find_classes


@dataclass(frozen=True)
class Dataset:
    """All records of a feature store, and the rows of each split.

    Attributes:
        features: column → float16 or float32, shape (records, dim).
        present: column → bool, shape (records,).
        texts: object array, shape (records,); the label of each record as text.
        labels: int64, shape (records,); its index in `classes`, -1 where it has none or one that
            no training row has.
        parts: `train`, `val`, `test` → int64 indices of the rows that can be used.
        classes: sorted labels of the training rows.
        rule: the split rule that was applied.
        left_out: reason → rows that stay out.
    """

    features: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    texts: np.ndarray
    labels: np.ndarray
    parts: dict[str, np.ndarray]
    classes: list[str]
    rule: SplitRule
    left_out: dict[str, int]

    @property
    def has_gaps(self) -> bool:
        """Whether a training row lacks one of the features."""
        rows = self.parts[TRAIN]
        return not all(present[rows].all() for present in self.present.values())

    def features_of(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Features and presence of some rows, as a model's `predict` takes them."""
        return (
            {name: values[rows] for name, values in self.features.items()},
            {name: values[rows] for name, values in self.present.items()},
        )


def load_dataset(
    store: FeatureStore, columns: Sequence[str], target: str, split_column: str
) -> Dataset:
    """Read the columns into memory and settle classes and splits.

    Args:
        store: the features.
        columns: names of the feature columns to read.
        target: column of the samples table that holds the class.
        split_column: column that names the split; empty = by a hash of the key.

    Raises:
        MmfeatError: no such column, no class, no row to train on or none to choose by, or a
            feature that is not a finite number.
    """
    check_metadata(store, target, split_column)
    rule = SplitRule(split_column)
    features = {
        name: np.zeros((store.records, store.columns[name].dim), store.columns[name].dtype)
        for name in columns
    }
    shards: list[Rows] = []
    start = 0
    for shard, parts in store.read(columns):
        shards.append(read_rows(store, shard, target, rule, parts))
        for name, part in parts.items():
            there = features[name][start : start + len(part.present)]
            there[part.present] = part.features[part.present]
            if not np.isfinite(there).all():
                raise MmfeatError(
                    f"every feature must be a finite number: column {name!r}, shard {shard}",
                    cure="Extract that column again; its encoder gave infinity or NaN",
                )
        start += store.shards[shard]
    return _settle(join_rows(shards), features, rule, target)


def _settle(rows: Rows, features: dict[str, np.ndarray], rule: SplitRule, target: str) -> Dataset:
    """Splits and classes of rows whose features are read."""
    rule, splits, reasons = _split(rows, rule)
    parts = {split: np.flatnonzero((splits == split) & (reasons == "")) for split in SPLITS}
    left_out = count(reasons)
    for split, cure in ((TRAIN, "Check --target and the split column"), (VAL, "Add records")):
        if not len(parts[split]):
            raise MmfeatError(
                f"there must be rows to {'train on' if split == TRAIN else 'validate on'} "
                f"(split: {rule}; left out: {left_out or 'none'}; "
                f"{'names of splits: ' + ', '.join(NAMES) if rule.column else 'no split column'})",
                got=0,
                cure=cure,
            )
    classes = find_classes(rows.labels[parts[TRAIN]], target)
    return Dataset(
        features=features,
        present={name: rows.present[:, m].copy() for m, name in enumerate(features)},
        texts=rows.labels,
        labels=encode(rows.labels, classes),
        parts=parts,
        classes=classes,
        rule=rule,
        left_out=left_out,
    )


def _split(rows: Rows, rule: SplitRule) -> tuple[SplitRule, np.ndarray, np.ndarray]:
    """The splits of rows and why some stay out; without validation rows, some are carved off."""
    splits = rule.assign(rows.keys, rows.split_values)
    reasons = rows.reasons(splits, SPLITS)
    if rule.carve or ((splits == VAL) & (reasons == "")).any():
        return rule, splits, reasons
    return _split(rows, replace(rule, carve=True))
