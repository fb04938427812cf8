"""Compare the rows of one bucket with each other."""

from collections.abc import Iterable

import numpy as np

from mmfeat.deduplication.groups import Groups
from mmfeat.deduplication.vector_rows import VectorRows

_BLOCK_ROWS = 512
"""Rows that are compared with all others at a time."""


def compare_all(
    rows: np.ndarray, unit: np.ndarray, vectors: VectorRows, threshold: float, groups: Groups
) -> None:
    """Join all pairs whose similarity reaches the threshold.

    Args:
        rows: int64, shape (n,): numbers of the rows.
        unit: their normalized vectors, shape (n, values).
        vectors: computes similarities.
        threshold: lowest similarity of a pair.
        groups: takes the pairs.
    """
    count = len(rows)
    labels = np.arange(count)
    best = np.zeros(count, np.float32)
    for start in range(0, count, _BLOCK_ROWS):
        stop = min(count, start + _BLOCK_ROWS)
        similarity = vectors.similarity(unit[start:stop], unit[start:])
        similarity[np.tril_indices(stop - start)] = -1  # each pair once
        first, second = np.nonzero(similarity >= threshold)
        if not len(first):
            continue
        found = similarity[first, second]
        first, second = first + start, second + start
        np.maximum.at(best, first, found)
        np.maximum.at(best, second, found)
        labels = _connect(labels, first, second)
    _join_labels(rows, labels, best, groups)


def compare_with_leaders(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    vectors: VectorRows,
    threshold: float,
    groups: Groups,
) -> None:
    """Join rows that are so alike that no clustering separates them.

    Each row is compared with the leaders: rows that were near no leader before them. So a million
    rows around one vector take a million comparisons, not their square; a pair that is near no
    common leader may be missed.

    Args:
        blocks: numbers of rows and their normalized vectors.
        vectors: computes similarities.
        threshold: lowest similarity of a pair.
        groups: takes the pairs.
    """
    leaders = [np.empty((0, sum(vectors.dims)), np.float32)]
    leader_rows = [np.empty(0, np.int64)]
    for rows, unit in blocks:
        nearest = np.full(len(rows), -1, np.int64)
        best = np.full(len(rows), -1, np.float32)
        for known, known_rows in zip(leaders, leader_rows, strict=True):
            if len(known):
                similarity = vectors.similarity(unit, known)
                places = similarity.argmax(axis=1)
                values = similarity[np.arange(len(rows)), places]
                nearest = np.where(values > best, known_rows[places], nearest)
                best = np.maximum(best, values)
        near = best >= threshold
        for row, leader, score in zip(rows[near], nearest[near], best[near], strict=True):
            groups.join(np.array([leader, row]), np.array([score, score], np.float32))
        compare_all(rows[~near], unit[~near], vectors, threshold, groups)
        leaders.append(unit[~near])
        leader_rows.append(rows[~near])


def _connect(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return labels in which the two ends of each pair are equal."""
    from scipy.sparse import coo_array  # loads slowly
    from scipy.sparse.csgraph import connected_components

    count = len(labels)
    pairs = coo_array(
        (np.ones(len(first), bool), (labels[first], labels[second])), shape=(count, count)
    )
    components = connected_components(pairs, directed=False)[1]
    joined: np.ndarray = components[labels]
    return joined


def _join_labels(rows: np.ndarray, labels: np.ndarray, best: np.ndarray, groups: Groups) -> None:
    """Join the rows that share a label."""
    alike = np.flatnonzero(best > 0)
    order = alike[np.argsort(labels[alike], kind="stable")]
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    for part in np.split(order, starts) if len(order) else ():
        groups.join(rows[part], best[part])
