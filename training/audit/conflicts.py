"""Near-duplicates with different labels."""

import heapq
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np

from mmfeat.deduplication import Groups
from mmfeat.system import external_sort

_MAX_MEMBERS = 1000
"""Records of a group that may be listed."""


class Conflict(NamedTuple):
    """A record of a group of near-duplicates with several labels.

    Attributes:
        row: number of the row in the store.
        label: its class.
        majority: the most frequent class of the group.
        score: highest similarity to another record of the group.
        root: first row of the group.
        size: number of labelled records in the group.
    """

    row: int
    label: int
    majority: int
    score: float
    root: int
    size: int


def find_conflicts(
    groups: Groups, rows: np.ndarray, labels: np.ndarray, most: int
) -> tuple[list[Conflict], int]:
    """Return records of groups with several labels: the most alike groups first.

    Args:
        groups: the groups.
        rows: int64, ascending: rows with a label.
        labels: class of each row.
        most: number of records to return.

    Returns:
        The records, group after group, and the number of all of them.
    """
    total = 0
    heap: list[tuple[float, int, list[Conflict]]] = []
    kept = 0
    for members in _groups(groups, rows, labels):
        counts = Counter(label for _, label, _ in members)
        if len(counts) < 2:
            continue
        total += len(members)
        root = int(groups.root(members[0][0]))
        majority = min(counts, key=lambda label: (-counts[label], label))
        # Minorities first: these are the ones to look at.
        ordered = sorted(members, key=lambda m: (m[1] == majority, counts[m[1]], -m[2], m[0]))
        found = [
            Conflict(row, label, majority, score, root, len(members))
            for row, label, score in ordered[:_MAX_MEMBERS]
        ]
        heapq.heappush(heap, (max(score for _, _, score in members), -root, found))
        kept += len(found)
        while kept - len(heap[0][2]) >= most:
            kept -= len(heapq.heappop(heap)[2])
    ranked = sorted(heap, key=lambda entry: (-entry[0], -entry[1]))
    return [conflict for _, _, found in ranked for conflict in found][:most], total


def _groups(
    groups: Groups, rows: np.ndarray, labels: np.ndarray
) -> Iterator[list[tuple[int, int, float]]]:
    """Yield row, label and score of the members of each group."""

    def lines() -> Iterator[bytes]:
        for start in range(0, len(rows), 1 << 16):
            part = rows[start : start + (1 << 16)]
            own = labels[start : start + (1 << 16)]
            grouped = groups.grouped(part)
            roots = groups.roots(part[grouped])
            scores = groups.scores[part[grouped]]
            for root, row, label, score in zip(
                roots.tolist(), part[grouped].tolist(), own[grouped].tolist(), scores.tolist(),
                strict=True,
            ):  # fmt: skip
                yield f"{root:015d} {row:015d} {label} {score:.7f}\n".encode()

    for _, members in groupby(external_sort(lines()), key=lambda line: line[:15]):
        yield [
            (int(row), int(label), float(score))
            for _, row, label, score in (line.split() for line in members)
        ]
