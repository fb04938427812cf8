"""The training dataset: rows of each split, targets in memory, features in memory or on disk."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa

from mmfeat.errors import MmfeatError
from mmfeat.features import Column, FeatureStore, row_hashes
from mmfeat.records import SPLIT_NAMES
from training.columns import check_sample_columns
from training.data.exclusions import DroppedRecords
from training.data.feature_reader import (
    ColumnBuilder,
    FeatureReader,
    available_memory,
    memory_reader,
    size_in_memory,
    store_reader,
)
from training.data.leakage import Leakage, find_leakage
from training.data.sample_rows import (
    NO_MODALITY,
    USED,
    SampleRows,
    count_reasons,
    read_hash_inputs,
    read_sample_rows,
)
from training.data.split_rule import (
    SPLITS,
    TRAIN,
    VAL,
    SplitRule,
    carve_fraction,
    hash_fraction,
    stratified_cuts,
)
from training.objectives.base import Objective

MEMORY, BLOCKS = "memory", "blocks"

_MAX_MEMORY_FRACTION = 0.5
"""Maximum fraction of the available memory for features. Larger features stay in the store."""


@dataclass(frozen=True)
class Dataset:
    """All records of a feature store, and the rows of each split.

    Attributes:
        features: reader of the features.
        present: column → bool, shape (records,).
        targets: targets in the form of the objective; first axis: records.
        split_rows: `train`, `val`, `test` → int64, ascending: the usable rows of the split.
        objective: the objective, fitted to the training rows.
        rule: the applied split rule.
        left_out: reason → number of excluded rows.
        leakage: rows whose features occur in two splits.
        dropped: records that --drop-misaligned excludes from training.
    """

    features: FeatureReader
    present: dict[str, np.ndarray]
    targets: np.ndarray
    split_rows: dict[str, np.ndarray]
    objective: Objective
    rule: SplitRule
    left_out: dict[str, int]
    leakage: Leakage
    dropped: DroppedRecords | None = None

    def select_columns(self, names: Collection[str]) -> Self:
        """Return the same rows with some of the columns."""
        present = {name: mask for name, mask in self.present.items() if name in names}
        return replace(self, features=self.features.select_columns(names), present=present)

    def drop_empty_rows(self, *splits: str) -> Self:
        """Leave the rows out of some splits that have none of the columns."""
        has_any = np.logical_or.reduce(list(self.present.values()))
        kept = {split: self.split_rows[split][has_any[self.split_rows[split]]] for split in splits}
        dropped = sum(len(self.split_rows[split]) - len(rows) for split, rows in kept.items())
        left_out = Counter(self.left_out) + Counter({NO_MODALITY: dropped})
        return replace(
            self, split_rows=self.split_rows | kept, left_out=dict(sorted(left_out.items()))
        )

    @property
    def has_missing_features(self) -> bool:
        """Whether a training row lacks one of the features."""
        rows = self.split_rows[TRAIN]
        return not all(mask[rows].all() for mask in self.present.values())


def load_dataset(
    store: FeatureStore,
    columns: Sequence[Column],
    objective: Objective,
    rule: SplitRule,
    *,
    stratify: bool = False,
    access: str = "auto",
    dropped: DroppedRecords | None = None,
) -> Dataset:
    """Read targets and splits, and the features if they fit into memory.

    Args:
        store: the features.
        columns: feature columns to train on.
        objective: the objective. This function fits it to the training rows.
        rule: the split rule.
        stratify: whether to split each label 80/10/10.
        access: `memory`, `blocks`, or `auto` = memory if the features take at most half of it.
        dropped: records to exclude from training.

    Raises:
        MmfeatError: a column is missing, there is nothing to learn, train or val has no rows, or a
            feature is not finite.
    """
    check_sample_columns(store, objective.target_columns, rule.flags)
    if stratify:
        rule = _stratify(store, objective, rule)
    available = available_memory()
    if access == "auto":
        fits = size_in_memory(store, columns) <= _MAX_MEMORY_FRACTION * available
        access = MEMORY if fits else BLOCKS
    size = size_in_memory(store, [column for column in columns if not column.max_tokens])
    if access == MEMORY and size > available:
        raise MmfeatError(
            f"the features must fit into memory, {available / 1e9:,.1f} GB available",
            got=f"{size / 1e9:,.1f} GB",
            cure="Read them from disk with --access blocks",
        )
    builders = {c.name: ColumnBuilder(c, store.records) for c in columns if access == MEMORY}
    shards: list[SampleRows] = []
    hashes = {c.name: np.empty(store.records, np.uint64) for c in columns if not c.max_tokens}
    first = 0
    for shard, features in store.read([column.name for column in columns]):
        rows = read_sample_rows(store, shard, objective, rule, features)
        count = len(rows.keys)
        misaligned = dropped.contains(rows.keys) if dropped else np.zeros(count, bool)
        shards.append(replace(rows, keys=[], misaligned=misaligned))
        for name, column in features.items():
            is_pooled = column.offsets is None
            vectors = column.features[column.present] if is_pooled else column.features
            if not np.isfinite(vectors).all():
                raise MmfeatError(
                    f"every feature must be a finite number: column {name!r}, shard {shard}",
                    cure="Extract that column again; its encoder returned infinity or NaN",
                )
            if is_pooled:
                hashes[name][first : first + count] = row_hashes(column.features, column.present)
            if builders:
                builders[name].append(column, slice(0, count))
        first += count
    if builders:
        built = {name: builder.build() for name, builder in builders.items()}
        reader = memory_reader(columns, built)
    else:
        reader = store_reader(store, columns)
    dataset = _make_dataset(store, shards, reader, objective, rule, hashes)
    return replace(dataset, dropped=dropped)


def _make_dataset(
    store: FeatureStore,
    shards: list[SampleRows],
    features: FeatureReader,
    objective: Objective,
    rule: SplitRule,
    hashes: dict[str, np.ndarray],
) -> Dataset:
    """Assign the rows to splits and fit the objective. The shards are removed from their list."""
    rows = SampleRows(
        keys=[],
        targets=objective.concatenate_targets([shard.targets for shard in shards]),
        has_target=np.concatenate([shard.has_target for shard in shards]),
        splits=np.concatenate([shard.splits for shard in shards]),
        present=np.concatenate([shard.present for shard in shards]),
        retried=np.concatenate([shard.retried for shard in shards]),
        min_modalities=objective.min_modalities,
        misaligned=np.concatenate([shard.misaligned for shard in shards]),
    )
    shards.clear()
    if not rule.carve and not (rows.in_split(VAL) & (rows.reasons() == USED)).any():
        rule = replace(rule, carve=True)
        rows = replace(rows, splits=_read_splits(store, objective, rule))
        used = rows.reasons() == USED
        if not (rows.in_split(VAL) & used).any():
            rule = _carve_lowest(store, rule, rows.in_split(TRAIN) & used)
            rows = replace(rows, splits=_read_splits(store, objective, rule))
    reasons = rows.reasons()
    split_rows = {s: np.flatnonzero(rows.in_split(s) & (reasons == USED)) for s in SPLITS}
    left_out = count_reasons(reasons)
    for split, cure in ((TRAIN, "Check --target and the split column"), (VAL, "Add records")):
        if not len(split_rows[split]):
            names = f"names of splits: {', '.join(SPLIT_NAMES)}" if rule.column else ""
            raise MmfeatError(
                f"there must be rows to {'train on' if split == TRAIN else 'validate on'} "
                f"(split: {rule}; left out: {left_out or 'none'}; {names or 'no split column'})",
                got=0,
                cure=cure,
            )
    present = {c.name: rows.present[:, m].copy() for m, c in enumerate(features.columns)}
    targets = objective.fit_targets(rows.targets, split_rows[TRAIN])
    del rows, reasons  # the search for leaks needs memory of its own
    return Dataset(
        features=features,
        present=present,
        targets=targets,
        split_rows=split_rows,
        objective=objective,
        rule=rule,
        left_out=left_out,
        leakage=find_leakage(hashes, split_rows),
    )


def _read_splits(store: FeatureStore, objective: Objective, rule: SplitRule) -> np.ndarray:
    """Return the split codes of all rows by another rule; reads the samples table only."""
    return np.concatenate(
        [read_sample_rows(store, shard, objective, rule, {}).splits for shard in store.shards]
    )


def _carve_lowest(store: FeatureStore, rule: SplitRule, training: np.ndarray) -> SplitRule:
    """Return the rule that carves the training rows with the lowest hash: one key or group.

    Few groups may all have a hash above the usual bound. A single group stays in training.
    """
    columns = ["__key__", *([rule.group] if rule.group else [])]
    fractions = np.array(
        [
            carve_fraction(text)
            for shard in store.shards
            for text in read_hash_inputs(store.read_samples(shard, columns), rule)
        ]
    )
    lowest = np.unique(fractions[training])[:2]
    return replace(rule, carve_below=float(lowest[1])) if len(lowest) > 1 else rule


def _stratify(store: FeatureStore, objective: Objective, rule: SplitRule) -> SplitRule:
    """Return the rule with cuts that split each label 80/10/10."""
    labels: list[object] = []
    fractions: list[float] = []
    for shard in store.shards:
        table = store.read_samples(shard, ["__key__", "status", *objective.target_columns])
        table = table.filter(pa.array(~store.retried_rows.mask(table, shard)))
        labels += objective.to_arrow(objective.read_targets(table)).to_pylist()
        fractions += [hash_fraction(key, "split") for key in table["__key__"].to_pylist()]
    return replace(rule, cuts=stratified_cuts(labels, np.array(fractions)))
