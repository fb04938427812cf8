"""Recall at k: how often a record's own counterpart is among the k nearest of all records."""

from typing import NamedTuple

import numpy as np

from training.data.leakage import row_hashes

KS = (1, 5, 10)

MOST = 100_000
"""Records that look for each other at most; of more, a sample."""

_BLOCK = 2048
_TIED = 2e-6
"""Cosines this close are equal: a matrix product rounds."""


class Ranks(NamedTuple):
    """Where each query found its own counterpart.

    Attributes:
        above: int64, shape (n,); candidates that are nearer.
        tied: int64, shape (n,); other candidates that are as near.
    """

    above: np.ndarray
    tied: np.ndarray

    def recall(self, k: int) -> float:
        """Part of the queries whose own counterpart is among the k nearest.

        Candidates that tie are in random order, so a query whose own is one of two alike counts
        half at k = 1, and a model to which all are alike gets no more than chance.
        """
        return float(np.clip((k - self.above) / (self.tied + 1), 0, 1).mean())

    def median(self) -> float:
        """Median rank, from 1; the middle one of a tie's ranks."""
        return float(np.median(1 + self.above + self.tied / 2))


def both_ways(a: np.ndarray, b: np.ndarray) -> tuple[Ranks, Ranks]:
    """The ranks from a to b and from b to a; a block of similarities is in memory at a time.

    Args:
        a: float32, shape (n, d), of length 1.
        b: likewise; row i belongs to row i of a.
    """
    own = np.einsum("nd,nd->n", a, b)
    counts = np.zeros((4, len(a)), np.int64)
    for i in range(0, len(a), _BLOCK):
        for j in range(0, len(b), _BLOCK):
            similar = a[i : i + _BLOCK] @ b[j : j + _BLOCK].T
            for row, axis, mine in (
                (0, 1, own[i : i + _BLOCK, None]),
                (2, 0, own[None, j : j + _BLOCK]),
            ):
                place = slice(i, i + _BLOCK) if axis == 1 else slice(j, j + _BLOCK)
                above = similar > mine + _TIED
                counts[row, place] += above.sum(axis=axis)
                counts[row + 1, place] += (~above & (similar >= mine - _TIED)).sum(axis=axis)
    return Ranks(counts[0], counts[1] - 1), Ranks(counts[2], counts[3] - 1)


def measure_direction(ranks: Ranks, candidates: np.ndarray) -> dict[str, float | int]:
    """Recalls and median rank of one direction.

    `best_recall_at_1` is the most that any model can reach: below 1 where candidates are
    identical, as captions that several pictures share.
    """
    distinct = len(np.unique(row_hashes(candidates, np.ones(len(candidates), bool))))
    return {
        "rows": len(candidates),
        **{f"recall_at_{k}": ranks.recall(k) for k in KS},
        "median_rank": ranks.median(),
        "best_recall_at_1": distinct / len(candidates),
    }


def sample(rows: int, most: int) -> np.ndarray:
    """Numbers of all rows, or of `most` drawn ones, ascending; the same ones each time."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
