"""Statistics of a feature column over the training rows: the mean, and deciles of projections."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

DIRECTIONS = 16
"""Fixed directions onto which features are projected."""

BINS = 10
"""Bins of each projection: between the deciles of the training rows."""

_MAX_KEPT = 1 << 24
"""Numbers of features that are kept to find deciles."""


@lru_cache(8)
def directions(dim: int) -> np.ndarray:
    """Return the directions of a column: float32, shape (dim, DIRECTIONS), each of length 1.

    Random signs (Achlioptas 2003) keep distances as well as Gaussian numbers do. They are the bits
    of SHAKE-128, so they are the same everywhere, and no file stores them.
    """
    count = -(-dim * DIRECTIONS // 8)
    digest = hashlib.shake_128(f"mmfeat directions {dim}".encode()).digest(count)
    bits = np.unpackbits(np.frombuffer(digest, np.uint8))[: dim * DIRECTIONS]
    signs = 2 * bits.reshape(dim, DIRECTIONS).astype(np.float32) - 1
    return signs / np.float32(np.sqrt(dim))


@dataclass(frozen=True)
class ColumnStatistics:
    """The statistics of one column.

    Attributes:
        mean: float32, shape (dim,): the mean vector of the training rows.
        edges: float32, shape (DIRECTIONS, BINS - 1): deciles of each projection.
        counts: int64, shape (DIRECTIONS, BINS): training rows in each bin.
        cosine: mean cosine of a training row to the mean vector.
        rows: sampled training rows.
        present: those with a feature.
    """

    mean: np.ndarray
    edges: np.ndarray
    counts: np.ndarray
    cosine: float
    rows: int
    present: int

    def count_bins(self, vectors: np.ndarray) -> np.ndarray:
        """Return how many vectors are in each bin: int64, shape (DIRECTIONS, BINS).

        Args:
            vectors: float32, shape (rows, dim).
        """
        projections = vectors @ directions(len(self.mean))
        counts = np.empty((DIRECTIONS, BINS), np.int64)
        for number in range(DIRECTIONS):
            bins = np.searchsorted(self.edges[number], projections[:, number])
            counts[number] = np.bincount(bins, minlength=BINS)
        return counts

    def cosines(self, vectors: np.ndarray) -> np.ndarray:
        """Return the cosine of each vector to the mean vector: float64, shape (rows,)."""
        length = np.linalg.norm(vectors, axis=1) * np.linalg.norm(self.mean)
        products = (vectors @ self.mean).astype(np.float64)
        return products / np.maximum(length, np.finfo(np.float32).tiny)


class StatisticsBuilder:
    """Computes the statistics of a column from a sample of the training rows, part by part.

    Args:
        dim: length of a vector.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._parts: list[np.ndarray] = []
        self._rows = self._present = 0

    @staticmethod
    def sample_size(dim: int, rows: int) -> int:
        """Return how many of a number of training rows to sample: they are kept in memory."""
        return min(rows, 20_000, max(1000, _MAX_KEPT // dim))

    def add(self, vectors: np.ndarray, present: np.ndarray) -> None:
        """Add rows.

        Args:
            vectors: float16 or float32, shape (rows, dim), or (rows, tokens, dim).
            present: bool, shape (rows,), or (rows, tokens).
        """
        self._rows += len(present)
        pooled = pool(vectors, present)
        self._present += len(pooled)
        self._parts.append(pooled.astype(vectors.dtype))

    def build(self) -> ColumnStatistics | None:
        """Return the statistics; None without a feature."""
        if not self._present:
            return None
        vectors = np.concatenate(self._parts).astype(np.float32)
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        projections = vectors @ directions(self._dim)
        shares = np.arange(1, BINS) / BINS
        edges = np.quantile(projections, shares, axis=0).T.astype(np.float32)
        empty = np.zeros((DIRECTIONS, BINS), np.int64)
        found = ColumnStatistics(mean, edges, empty, 0.0, self._rows, self._present)
        cosine = float(found.cosines(vectors).mean())
        counts = found.count_bins(vectors)
        return ColumnStatistics(mean, edges, counts, cosine, self._rows, self._present)


def pool(vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return one vector per row that has a feature: the mean of its tokens.

    Args:
        vectors: shape (rows, dim), or (rows, tokens, dim).
        present: bool, shape (rows,), or (rows, tokens).

    Returns:
        float32, shape (rows with a feature, dim).
    """
    if present.ndim == 1:
        return vectors[present].astype(np.float32)
    rows = np.flatnonzero(present.any(axis=1))
    tokens = np.where(present[rows, :, None], vectors[rows].astype(np.float32), 0)
    count = present[rows].sum(axis=1, keepdims=True)
    pooled: np.ndarray = tokens.sum(axis=1) / count
    return pooled


def stability_index(expected: Sequence[int] | np.ndarray, found: np.ndarray) -> float:
    """Return the population stability index: Σ (q - p) ln(q / p) over bins.

    It is 0 for equal shares; 0.1 is a small and 0.25 a large change. Half a row is added to each
    bin, so that an empty one does not make it infinite.

    Args:
        expected: rows per bin in training, shape (bins,).
        found: rows per bin now, shape (bins,).
    """
    p, q = (np.asarray(counts, np.float64) + 0.5 for counts in (expected, found))
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())
