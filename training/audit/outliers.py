"""Outliers: records far from their nearest neighbours.

The score is the mean cosine distance to the 10 nearest of some records (Ramaswamy, Rastogi and Shim
2000, Efficient algorithms for mining outliers from large data sets; the sample as in Sugiyama and
Borgwardt 2013, Rapid distance-based outlier detection via sampling).
"""

import numpy as np

from mmfeat.deduplication import VectorRows

NEIGHBOURS = 10
MAX_REFERENCES = 4096
_MAX_REFERENCE_BYTES = 128 << 20
_FENCE = 3.0
"""Interquartile ranges above the upper quartile: "far out" in Tukey 1977."""


def score_outliers(vectors: VectorRows, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a store with vectors in all columns, and their scores.

    Args:
        vectors: the rows.
        count: number of rows.
        seed: seed of the references.

    Returns:
        Numbers of the rows in the store, int64, and mean distances, float32.
    """
    columns = len(vectors.columns)
    size = min(MAX_REFERENCES, _MAX_REFERENCE_BYTES // (4 * sum(vectors.dims)))
    chosen = np.sort(np.random.default_rng(seed).permutation(count)[:size])
    parts, numbers, start = [], [], 0
    for _, rows, values in vectors:
        places = chosen[(chosen >= start) & (chosen < start + len(rows))] - start
        parts.append(vectors.normalize(values[places]))
        numbers.append(rows[places])
        start += len(rows)
    references, reference_rows = np.concatenate(parts), np.concatenate(numbers)
    neighbours = min(NEIGHBOURS, len(references) - 1)
    all_rows, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for _, rows, values in vectors if neighbours > 0 else ():
        for first in range(0, len(rows), 1024):
            part = rows[first : first + 1024]
            unit = vectors.normalize(values[first : first + 1024])
            similarity = unit @ references.T / columns
            similarity[part[:, None] == reference_rows] = -np.inf  # itself
            nearest = np.partition(similarity, -neighbours, axis=1)[:, -neighbours:]
            all_rows.append(part)
            scores.append(1 - nearest.mean(axis=1, dtype=np.float32))
    return np.concatenate(all_rows), np.concatenate(scores)


def find_outliers(scores: np.ndarray) -> np.ndarray:
    """Return the positions of far outliers, the farthest first."""
    if len(scores) < 2 * NEIGHBOURS:
        return np.empty(0, np.int64)
    low, high = np.quantile(scores, [0.25, 0.75])
    order = np.argsort(-scores, kind="stable")
    return order[scores[order] > high + _FENCE * (high - low)]
