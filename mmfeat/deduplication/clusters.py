"""Spherical k-means, and the clusters in which the near-duplicates of a row may be."""

import numpy as np

_ITERATIONS = 8
_SAMPLE_PER_CLUSTER = 32
_MAX_SAMPLE_BYTES = 64 << 20
MAX_CLUSTERS = 256
_MAX_CLUSTERS_PER_ROW = 4
"""A row is compared in at most so many clusters; pairs in further ones may be missed."""

_DEVIATIONS = 6.0
"""Standard deviations of the margins between near-duplicates that are covered."""


def sample_size(clusters: int, values: int) -> int:
    """Return the number of rows to fit clusters on.

    Args:
        clusters: number of clusters.
        values: length of a vector.
    """
    return max(clusters, min(_SAMPLE_PER_CLUSTER * clusters, _MAX_SAMPLE_BYTES // (4 * values)))


def fit_clusters(sample: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Return centroids, float32, shape (clusters, values); fewer than `count` if rows repeat.

    (Dhillon and Modha 2001, Concept decompositions for large sparse text data using clustering.)

    Args:
        sample: float32, shape (n, values): vectors of equal length.
        count: number of clusters.
        seed: seed of the first centroids.
    """
    order = np.random.default_rng(seed).permutation(len(sample))
    centroids = np.unique(sample[order[:count]], axis=0)
    for _ in range(_ITERATIONS):
        nearest = (sample @ centroids.T).argmax(axis=1)
        sums = np.zeros_like(centroids)
        np.add.at(sums, nearest, sample)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centroids = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centroids)
    return np.unique(centroids.astype(np.float32), axis=0)


def assign_clusters(
    unit: np.ndarray, centroids: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the clusters of each row, such that near-duplicates share one.

    Let x be nearest to the centroid a and its near-duplicate y to b. The margins (a - b)·x and
    (b - a)·y add up to (a - b)·(x - y) ≤ |a - b| |x - y|, so the smaller one is at most half of
    it. A row belongs to its nearest cluster and to those whose margin is that small. In many
    dimensions, x - y is almost orthogonal to a - b: the standard deviation of their cosine is
    1/√(values), so a margin of some of these is enough.

    Args:
        unit: float32, shape (n, values): vectors of length 1.
        centroids: shape (clusters, values).
        threshold: lowest cosine of near-duplicates.

    Returns:
        Row positions and cluster numbers, int64, both of shape (assignments,).
    """
    similarity = unit @ centroids.T
    home = similarity.argmax(axis=1)
    margins = similarity[np.arange(len(unit)), home][:, None] - similarity
    squares = (centroids**2).sum(axis=1)
    distances = np.sqrt(
        np.maximum(squares[:, None] + squares - 2 * centroids @ centroids.T, 0, dtype=np.float32)
    )
    likely = min(1.0, _DEVIATIONS / np.sqrt(unit.shape[1]))
    radius = np.sqrt(max(0.0, 2 - 2 * threshold)) / 2 * likely
    belongs = margins <= radius * distances[home] + 1e-6
    crowded = np.flatnonzero(belongs.sum(axis=1) > _MAX_CLUSTERS_PER_ROW)
    if len(crowded):
        order = np.argsort(margins[crowded], axis=1, kind="stable")[:, _MAX_CLUSTERS_PER_ROW:]
        belongs[crowded[:, None], order] = False
    rows, clusters = np.nonzero(belongs)
    return rows, clusters
