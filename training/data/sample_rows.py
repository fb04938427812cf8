"""Read the samples table for training: targets, splits, and the reason why a row is excluded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mmfeat.features import ColumnShard, FeatureStore
from mmfeat.records import read_cells
from training.data.duplicate_groups import load_groups
from training.data.split_rule import SPLITS, TRAIN, UNASSIGNED, SplitRule, encode_splits
from training.objectives.base import Objective

USED = 0
"""Code of a row that no reason excludes."""

NO_TARGET, NO_MODALITY, NO_SPLIT = "no target", "no modality", "no split"
NO_PAIR = "no pair"
OTHER_SPLIT = "another split"
SUPERSEDED = "superseded"
MISALIGNED = "misaligned"
REASONS = ("", SUPERSEDED, NO_TARGET, NO_MODALITY, NO_PAIR, NO_SPLIT, OTHER_SPLIT, MISALIGNED)
"""Reasons that exclude a row, in order of precedence; the index is the code.

no target: null or blank. no modality: the row has no feature. no pair: it has one feature, two are
required. no split: its split column holds no known name. another split: not a requested one.
misaligned: --drop-misaligned excludes it from training. A superseded row is not counted: its record
was retried and has another row.
"""


@dataclass(frozen=True)
class SampleRows:
    """Rows of the samples table.

    Attributes:
        keys: `__key__` of each row.
        targets: targets as the objective reads them; first axis: rows.
        has_target: bool, shape (rows,).
        splits: int8 codes from `encode_splits`, shape (rows,).
        present: bool, shape (rows, columns): which features each row has.
        retried: bool, shape (rows,): rows whose record was retried and has a newer row.
        min_modalities: number of features a row must have.
        misaligned: bool, shape (rows,): rows excluded from training. None = no row.
    """

    keys: list[str]
    targets: np.ndarray
    has_target: np.ndarray
    splits: np.ndarray
    present: np.ndarray
    retried: np.ndarray
    min_modalities: int = 1
    misaligned: np.ndarray | None = None

    def reasons(self, wanted: Sequence[str] = SPLITS) -> np.ndarray:
        """Return why each row is excluded: int8 indices into `REASONS`, `USED` for a usable row.

        Args:
            wanted: the requested splits.
        """
        return np.select(
            [
                self.retried,
                ~self.has_target,
                ~self.present.any(axis=1),
                self.present.sum(axis=1) < self.min_modalities,
                self.in_split(UNASSIGNED),
                ~np.isin(self.splits, encode_splits(np.array(wanted))),
                self.in_split(TRAIN) & (False if self.misaligned is None else self.misaligned),
            ],
            np.arange(1, len(REASONS), dtype=np.int8),
            default=np.int8(USED),
        )

    def in_split(self, split: str) -> np.ndarray:
        """Return the rows of a split as bool, shape (rows,)."""
        return self.splits == encode_splits(np.array(split))


def count_reasons(reasons: np.ndarray) -> dict[str, int]:
    """Return reason → number of rows it excludes."""
    rows = dict(zip(REASONS, np.bincount(reasons, minlength=len(REASONS)).tolist(), strict=True))
    return {reason: n for reason, n in sorted(rows.items()) if n and reason not in ("", SUPERSEDED)}


def read_hash_inputs(table: pa.Table, rule: SplitRule) -> list[str]:
    """Return the text to hash for each row of a samples table: its group or its key."""
    keys = table["__key__"].to_pylist()
    if rule.duplicates:
        return rule.hash_inputs(
            keys, load_groups(rule.duplicates, rule.duplicates_sha256).find(keys)
        )
    return rule.hash_inputs(keys, read_cells(table, rule.group) if rule.group else ())


def read_sample_rows(
    store: FeatureStore,
    shard: str,
    objective: Objective,
    rule: SplitRule,
    features: Mapping[str, ColumnShard],
) -> SampleRows:
    """Read the rows of one shard.

    Args:
        store: the features.
        shard: name of the shard.
        objective: reads the targets.
        rule: assigns the splits.
        features: columns of the same shard.

    Raises:
        MmfeatError: the task cannot learn the values of the target column.
    """
    columns = ["__key__", "status", *objective.target_columns, *rule.columns]
    table = store.read_samples(shard, list(dict.fromkeys(columns)))
    keys = table["__key__"].to_pylist()
    targets = objective.read_shard_targets(table, shard)
    splits = rule.assign(
        read_hash_inputs(table, rule),
        read_cells(table, rule.column) if rule.column else (),
        objective.to_arrow(targets).to_pylist() if rule.cuts else (),
    )
    present = np.zeros((len(keys), len(features)), bool)
    for number, column in enumerate(features.values()):
        present[:, number] = column.present
    return SampleRows(
        keys=keys,
        targets=targets,
        has_target=objective.has_target(targets),
        splits=encode_splits(splits),
        present=present,
        retried=store.retried_rows.mask(table, shard),
        min_modalities=objective.min_modalities,
    )
