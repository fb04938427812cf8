"""The samples table of a shard as training sees it: labels, splits, and who stays out and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.features import ColumnShard, FeatureStore
from training.splits import NOWHERE, SplitRule
from training.targets import check_target, read_labels

OWN_COLUMNS = ("__key__", "status", "reason", "error")
"""What mmfeat itself writes into the samples table; the rest is the user's metadata."""

NO_TARGET, NO_MODALITY, NO_SPLIT = "no target", "no modality", "no split"
OTHER_SPLIT = "another split"
"""Why a row stays out: its target is null or blank, it has none of the features, its split column
names no split, or another one than is asked for. The first that holds is counted."""


@dataclass(frozen=True)
class Rows:
    """Rows of the samples table.

    Attributes:
        keys: the `__key__` of each.
        labels: object array; the class as text, None where there is none.
        split_values: object array; what the split column says, None without a column.
        present: bool, shape (rows, columns); which features each has.
    """

    keys: list[str]
    labels: np.ndarray
    split_values: np.ndarray
    present: np.ndarray

    def reasons(self, splits: np.ndarray, wanted: Sequence[str]) -> np.ndarray:
        """Why each row stays out; empty text where it can be used.

        Args:
            splits: the split of each row.
            wanted: the splits that are asked for.
        """
        unlabelled = np.array([label is None for label in self.labels], bool)
        return np.select(
            [
                unlabelled,
                ~self.present.any(axis=1),
                splits == NOWHERE,
                ~np.isin(splits, wanted),
            ],
            [NO_TARGET, NO_MODALITY, NO_SPLIT, OTHER_SPLIT],
            default="",
        )


def join_rows(parts: list[Rows]) -> Rows:
    """Rows of several shards, one after another."""
    return Rows(
        keys=[key for part in parts for key in part.keys],
        labels=np.concatenate([part.labels for part in parts]),
        split_values=np.concatenate([part.split_values for part in parts]),
        present=np.concatenate([part.present for part in parts]),
    )


def count(reasons: np.ndarray) -> dict[str, int]:
    """Reason → rows that stay out for it."""
    return dict(sorted(Counter(reasons[reasons != ""].tolist()).items()))


def check_metadata(store: FeatureStore, target: str, split_column: str) -> None:
    """Check that the samples table has the target and the split column, where one is named.

    Raises:
        MmfeatError: one of them is not there.
    """
    available = [name for name in store.samples_schema.names if name not in OWN_COLUMNS]
    check_target(target, available)
    if split_column and split_column not in available:
        raise MmfeatError(
            f"the samples table of {store.path} has no split column {split_column!r}; "
            f"it has: {', '.join(available)}",
            cure="Name one of them with --split-column, or evaluate with --split all",
        )


def read_rows(
    store: FeatureStore,
    shard: str,
    target: str,
    rule: SplitRule,
    features: Mapping[str, ColumnShard],
) -> Rows:
    """The rows of one shard, beside its features.

    Raises:
        MmfeatError: the target holds something that is not a class.
    """
    wanted = ["__key__", target, *([rule.column] if rule.column else [])]
    table = store.read_samples(shard, list(dict.fromkeys(wanted)))
    split_values = np.full(table.num_rows, None, object)
    if rule.column:
        split_values[:] = table[rule.column].to_pylist()
    labels = np.full(table.num_rows, None, object)
    labels[:] = read_labels(table[target], target)
    return Rows(
        keys=table["__key__"].to_pylist(),
        labels=labels,
        split_values=split_values,
        present=np.stack([column.present for column in features.values()], axis=1),
    )
