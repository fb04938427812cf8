"""What is trained on: the rows of each split, their targets in memory, their features at hand."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.features.column_format import Column
from mmfeat.features.store import FeatureStore
from mmfeat.records.split_names import SPLIT_NAMES
from training.data.exclusions import DroppedRecords
from training.data.feature_reader import (
    FeatureReader,
    MemoryRows,
    available_memory,
    mapped_rows,
    size_in_memory,
)
from training.data.leakage import Leakage, find_leakage, row_hashes
from training.data.sample_rows import USED, Rows, check_metadata, count, read_rows
from training.data.split_rule import SPLITS, TRAIN, VAL, SplitRule, fraction, stratified_cuts
from training.objectives import Objective

MEMORY, BLOCKS = "memory", "blocks"

_SHARE = 0.5
"""Part of the available memory that features may take; beyond, they are read from the store."""


@dataclass(frozen=True)
class Dataset:
    """All records of a feature store, and the rows of each split.

    Attributes:
        features: the rows' features.
        present: column → bool, shape (records,).
        targets: in the objective's numbers; first axis: records.
        parts: `train`, `val`, `test` → int64 indices, ascending, of the rows that can be used.
        objective: what is learned.
        rule: the split rule that was applied.
        left_out: reason → rows that stay out.
        leakage: what stands in two splits.
        dropped: what training shall not see, where that was asked for.
    """

    features: FeatureReader
    present: dict[str, np.ndarray]
    targets: np.ndarray
    parts: dict[str, np.ndarray]
    objective: Objective
    rule: SplitRule
    left_out: dict[str, int]
    leakage: Leakage
    dropped: DroppedRecords | None = None

    def only(self, names: Collection[str]) -> Self:
        """The same rows, splits and targets, with some of the columns."""
        present = {name: there for name, there in self.present.items() if name in names}
        return replace(self, features=self.features.only(names), present=present)

    @property
    def has_gaps(self) -> bool:
        """Whether a training row lacks one of the features."""
        rows = self.parts[TRAIN]
        return not all(present[rows].all() for present in self.present.values())


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
    """Read targets and splits, and the features into memory where they fit.

    Args:
        store: the features.
        columns: the columns to train on.
        objective: what is to be learned; settled by this.
        rule: how to split.
        stratify: whether every split shall have a like part of each label.
        access: `memory`, `blocks`, or `auto` for what the available memory allows.
        dropped: records that training shall not see.

    Raises:
        MmfeatError: no such column, nothing to learn, no row to train on or none to choose by, or
            a feature that is not a finite number.
    """
    check_metadata(store, objective, rule)
    if stratify:
        rule = _stratified(store, objective, rule)
    if access == "auto":
        fits = size_in_memory(store, columns) <= _SHARE * available_memory()
        access = MEMORY if fits else BLOCKS
    memory = MemoryRows(columns, store.records) if access == MEMORY else None
    shards: list[Rows] = []
    hashes: dict[str, list[np.ndarray]] = {c.name: [] for c in columns if not c.max_tokens}
    for shard, parts in store.read([column.name for column in columns]):
        rows = read_rows(store, shard, objective, rule, parts)
        misaligned = dropped.among(rows.keys) if dropped else np.zeros(len(rows.keys), bool)
        shards.append(replace(rows, keys=[], misaligned=misaligned))
        for name, part in parts.items():
            there = part.features if part.offsets is not None else part.features[part.present]
            if not np.isfinite(there).all():
                raise MmfeatError(
                    f"every feature must be a finite number: column {name!r}, shard {shard}",
                    cure="Extract that column again; its encoder gave infinity or NaN",
                )
            if name in hashes:
                hashes[name].append(row_hashes(part.features, part.present))
        if memory:
            memory.add(parts)
    features = memory.rows() if memory else mapped_rows(store, columns)
    dataset = _settle(store, shards, features, objective, rule, hashes)
    return replace(dataset, dropped=dropped)


def _settle(
    store: FeatureStore,
    shards: Sequence[Rows],
    features: FeatureReader,
    objective: Objective,
    rule: SplitRule,
    hashes: dict[str, list[np.ndarray]],
) -> Dataset:
    """Splits and task of rows that are read."""
    rows = Rows(
        keys=[],
        targets=objective.concatenate_targets([shard.targets for shard in shards]),
        known=np.concatenate([shard.known for shard in shards]),
        splits=np.concatenate([shard.splits for shard in shards]),
        present=np.concatenate([shard.present for shard in shards]),
        superseded=np.concatenate([shard.superseded for shard in shards]),
        least=objective.min_modalities,
        misaligned=np.concatenate([shard.misaligned for shard in shards]),
    )
    if not rule.carve and not (rows.of(VAL) & (rows.reasons() == USED)).any():
        rule = replace(rule, carve=True)
        rows = replace(rows, splits=_resplit(store, objective, rule))
    reasons = rows.reasons()
    parts = {split: np.flatnonzero(rows.of(split) & (reasons == USED)) for split in SPLITS}
    left_out = count(reasons)
    for split, cure in ((TRAIN, "Check --target and the split column"), (VAL, "Add records")):
        if not len(parts[split]):
            raise MmfeatError(
                f"there must be rows to {'train on' if split == TRAIN else 'validate on'} "
                f"(split: {rule}; left out: {left_out or 'none'}; "
                f"{'splits: ' + ', '.join(SPLIT_NAMES) if rule.column else 'no split column'})",
                got=0,
                cure=cure,
            )
    return Dataset(
        features=features,
        present={c.name: rows.present[:, m].copy() for m, c in enumerate(features.columns)},
        targets=objective.fit_targets(rows.targets, parts[TRAIN]),
        parts=parts,
        objective=objective,
        rule=rule,
        left_out=left_out,
        leakage=find_leakage(
            {name: np.concatenate(values) for name, values in hashes.items()}, parts
        ),
    )


def _resplit(store: FeatureStore, objective: Objective, rule: SplitRule) -> np.ndarray:
    """The splits of all rows by another rule; nothing but samples is read."""
    return np.concatenate(
        [read_rows(store, shard, objective, rule, {}).splits for shard in store.shards]
    )


def _stratified(store: FeatureStore, objective: Objective, rule: SplitRule) -> SplitRule:
    """The rule with cuts that give every split a like part of each label."""
    labels: list[object] = []
    fractions: list[float] = []
    for shard in store.shards:
        table = store.read_samples(shard, ["__key__", *objective.target_columns])
        labels += objective.to_arrow(objective.read_targets(table)).to_pylist()
        fractions += [fraction(key, "split") for key in table["__key__"].to_pylist()]
    return replace(rule, cuts=stratified_cuts(labels, np.array(fractions)))
