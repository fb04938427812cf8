"""The table of issues."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from mmfeat.features import FeatureStore

LABEL, CONFLICT, OUTLIER = "label", "conflict", "outlier"
KINDS = (LABEL, CONFLICT, OUTLIER)

SCHEMA = pa.schema(
    [
        ("issue", pa.string()),
        ("rank", pa.int64()),
        ("__key__", pa.string()),
        ("shard", pa.string()),
        ("label", pa.string()),
        ("suggested", pa.string()),
        ("score", pa.float32()),
        ("p_label", pa.float32()),
        ("p_suggested", pa.float32()),
        ("group", pa.string()),
    ]
)


@dataclass(frozen=True)
class Issue:
    """A suspected record.

    Attributes:
        kind: `label`, `conflict` or `outlier`.
        row: number of the row in the store.
        label: the label it has; None if it has none.
        suggested: the label it may have; None if there is none.
        score: of a label, the normalized margin (low is suspicious); of a conflict, the similarity;
            of an outlier, the distance.
        p_label, p_suggested: out-of-fold probabilities; None if they are not known.
        root: first row of its group of near-duplicates; None outside of groups.
    """

    kind: str
    row: int
    label: str | None
    suggested: str | None
    score: float
    p_label: float | None = None
    p_suggested: float | None = None
    root: int | None = None


def make_table(store: FeatureStore, issues: Sequence[Issue]) -> pa.Table:
    """Return the issues with their keys, ranked within each kind."""
    roots = [issue.root for issue in issues if issue.root is not None]
    keys = read_keys(store, [*(issue.row for issue in issues), *roots])
    ranks: dict[str, int] = {}
    rows = []
    for issue in issues:
        ranks[issue.kind] = ranks.get(issue.kind, 0) + 1
        key, shard = keys[issue.row]
        rows.append(
            {
                "issue": issue.kind,
                "rank": ranks[issue.kind],
                "__key__": key,
                "shard": shard,
                "label": issue.label,
                "suggested": issue.suggested,
                "score": issue.score,
                "p_label": issue.p_label,
                "p_suggested": issue.p_suggested,
                "group": None if issue.root is None else keys[issue.root][0],
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def read_keys(store: FeatureStore, rows: Iterable[int]) -> Mapping[int, tuple[str, str]]:
    """Return the key and the shard of rows of a store."""
    wanted = np.unique(np.array([*rows], np.int64))
    starts = np.array([0, *accumulate(store.shards.values())])
    shards = np.searchsorted(starts, wanted, "right") - 1
    names = list(store.shards)
    found: dict[int, tuple[str, str]] = {}
    for number in np.unique(shards).tolist():
        own = wanted[shards == number]
        keys: Any = store.read_keys(names[number]).take(pa.array(own - starts[number]))
        for row, key in zip(own.tolist(), keys.to_pylist(), strict=True):
            found[row] = (key, names[number])
    return found
