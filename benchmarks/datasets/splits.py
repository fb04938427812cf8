"""Repeated splits of labelled records, with all records of a group in one split."""

from collections.abc import Sequence

import numpy as np

FRACTIONS = {"test": 0.2, "val": 0.16}
"""Fractions of the groups; the rest is for training."""


def random_split(groups: Sequence[str], seed: int) -> list[str]:
    """Return `train`, `val` or `test` for each record.

    Args:
        groups: group of each record.
        seed: number of the split.
    """
    names, numbers = np.unique(np.array(groups), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    splits = np.full(len(names), "train", object)
    start = 0
    for name, fraction in FRACTIONS.items():
        count = max(1, round(fraction * len(names)))
        splits[order[start : start + count]] = name
        start += count
    return [str(split) for split in splits[numbers]]
