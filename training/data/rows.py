"""The samples table of a shard as training sees it: targets, splits, and who stays out and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.features.column_reader import ColumnShard
from mmfeat.features.store import FeatureStore
from training.data.splits import NOWHERE, SPLITS, TRAIN, SplitRule, encode
from training.data.targets import check_target
from training.objectives import Objective

OWN_COLUMNS = ("__key__", "status", "reason", "error")
"""What mmfeat itself writes into the samples table; the rest is the user's metadata."""

NO_TARGET, NO_MODALITY, NO_SPLIT = "no target", "no modality", "no split"
NO_PAIR = "no pair"
OTHER_SPLIT = "another split"
SUPERSEDED = "superseded"
MISALIGNED = "misaligned"
"""Why a row stays out: its target is null or blank, it has none of the features, or only one where
two are needed, its split column names no split, or another one than is asked for, or its modalities
disagree too much to train on. The first that holds is counted; a superseded row is not, for its
record has another one."""

USED = 0
"""The number of no reason at all."""
REASONS = ("", SUPERSEDED, NO_TARGET, NO_MODALITY, NO_PAIR, NO_SPLIT, OTHER_SPLIT, MISALIGNED)


@dataclass(frozen=True)
class Rows:
    """Rows of the samples table.

    Attributes:
        keys: the `__key__` of each.
        targets: as the objective reads them; first axis: rows.
        known: bool, shape (rows,); which have a target.
        splits: int8, shape (rows,); the split of each by the rule, as `splits.encode` has it.
        present: bool, shape (rows, columns); which features each has.
        superseded: bool, shape (rows,); whose records have another row, in a further shard.
        least: fewest features that a row needs.
        misaligned: bool, shape (rows,); which rows training shall not see. None = it sees all.
    """

    keys: list[str]
    targets: np.ndarray
    known: np.ndarray
    splits: np.ndarray
    present: np.ndarray
    superseded: np.ndarray
    least: int = 1
    misaligned: np.ndarray | None = None

    def reasons(self, wanted: Sequence[str] = SPLITS) -> np.ndarray:
        """Why each row stays out, int8: its place in `REASONS`, `USED` where it can be used.

        Args:
            wanted: the splits that are asked for.
        """
        return np.select(
            [
                self.superseded,
                ~self.known,
                ~self.present.any(axis=1),
                self.present.sum(axis=1) < self.least,
                self.of(NOWHERE),
                ~np.isin(self.splits, encode(np.array(wanted))),
                self.of(TRAIN) & (False if self.misaligned is None else self.misaligned),
            ],
            np.arange(1, len(REASONS), dtype=np.int8),
            default=np.int8(USED),
        )

    def of(self, split: str) -> np.ndarray:
        """Which rows are of a split, bool, shape (rows,)."""
        return self.splits == encode(np.array(split))


def count(reasons: np.ndarray) -> dict[str, int]:
    """Reason → rows that stay out for it."""
    rows = dict(zip(REASONS, np.bincount(reasons, minlength=len(REASONS)).tolist(), strict=True))
    return {why: n for why, n in sorted(rows.items()) if n and why not in ("", SUPERSEDED)}


def check_metadata(store: FeatureStore, objective: Objective, rule: SplitRule) -> None:
    """Check that the samples table has the target and what the split goes by.

    Raises:
        MmfeatError: one of them is not there.
    """
    available = [name for name in store.samples_schema.names if name not in OWN_COLUMNS]
    for name in objective.target_columns:
        check_target(name, available)
    for name, flag in ((rule.column, "--split-column"), (rule.group, "--group-column")):
        if name and name not in available:
            raise MmfeatError(
                f"the samples table of {store.path} has no column {name!r} ({flag}); "
                f"it has: {', '.join(available)}",
                cure=f"Name one of them with {flag}, or evaluate with --split all",
            )


def read_rows(
    store: FeatureStore,
    shard: str,
    objective: Objective,
    rule: SplitRule,
    features: Mapping[str, ColumnShard],
) -> Rows:
    """The rows of one shard, beside its features.

    Raises:
        MmfeatError: the target holds something that the task cannot learn.
    """
    columns = ["__key__", "status", *objective.target_columns, *rule.columns]
    table = store.read_samples(shard, list(dict.fromkeys(columns)))
    keys = table["__key__"].to_pylist()
    targets = objective.read(table)
    splits = rule.assign(
        rule.hashed(keys, table[rule.group].to_pylist() if rule.group else ()),
        table[rule.column].to_pylist() if rule.column else (),
        objective.as_column(targets).to_pylist() if rule.cuts else (),
    )
    present = np.zeros((len(keys), len(features)), bool)
    for number, column in enumerate(features.values()):
        present[:, number] = column.present
    return Rows(
        keys=keys,
        targets=targets,
        known=objective.known(targets),
        splits=encode(splits),
        present=present,
        superseded=store.superseded.among(table),
        least=objective.least,
    )
