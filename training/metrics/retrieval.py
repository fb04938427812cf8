"""Retrieval metrics: recall at k and median rank of a record's own counterpart."""

from typing import NamedTuple

import numpy as np

from mmfeat.features import row_hashes

RECALL_KS = (1, 5, 10)

MAX_ROWS = 100_000
"""Maximum number of records to rank; more are sampled."""

BLOCK_ROWS = 2048

_TOLERANCE = 2e-6
"""Cosines this close are equal, because a matrix product rounds."""


class Ranks(NamedTuple):
    """The rank of each query's own counterpart.

    Attributes:
        above: int64, shape (n,); number of nearer candidates.
        tied: int64, shape (n,); number of other candidates at the same distance.
    """

    above: np.ndarray
    tied: np.ndarray

    def recall(self, k: int) -> float:
        """Return the fraction of queries whose own counterpart is among the k nearest.

        Ties are in random order: a query with two equal candidates counts half at k = 1, and a
        model that maps all records to one vector gets the recall of chance.
        """
        return float(np.clip((k - self.above) / (self.tied + 1), 0, 1).mean())

    def median(self) -> float:
        """Return the median rank, from 1; a tie has the mean of its ranks."""
        return float(np.median(1 + self.above + self.tied / 2))


def rank_both_directions(
    a: np.ndarray, b: np.ndarray, block: int = BLOCK_ROWS
) -> tuple[Ranks, Ranks]:
    """Rank from a to b and from b to a, with one block of similarities in memory.

    Args:
        a: float32, shape (n, d), of length 1.
        b: the same; row i is the counterpart of row i of a.
        block: rows of a block.
    """
    own = np.einsum("nd,nd->n", a, b)
    counts = np.zeros((4, len(a)), np.int64)
    for i in range(0, len(a), block):
        for j in range(0, len(b), block):
            rows, columns = slice(i, i + block), slice(j, j + block)
            similarity = a[rows] @ b[columns].T
            for line, axis, queries, own_similarity in (
                (0, 1, rows, own[rows, None]),
                (2, 0, columns, own[None, columns]),
            ):
                above = similarity > own_similarity + _TOLERANCE
                tied = ~above & (similarity >= own_similarity - _TOLERANCE)
                counts[line, queries] += above.sum(axis=axis)
                counts[line + 1, queries] += tied.sum(axis=axis)
    return Ranks(counts[0], counts[1] - 1), Ranks(counts[2], counts[3] - 1)


def evaluate_direction(ranks: Ranks, candidates: np.ndarray) -> dict[str, float | int]:
    """Return recalls and median rank of one direction.

    `best_recall_at_1` is the maximum for any model: below 1 if candidates are identical, such as
    one caption of several images.
    """
    distinct = len(np.unique(row_hashes(candidates, np.ones(len(candidates), bool))))
    return {
        "rows": len(candidates),
        **{f"recall_at_{k}": ranks.recall(k) for k in RECALL_KS},
        "median_rank": ranks.median(),
        "best_recall_at_1": distinct / len(candidates),
    }


def sample_rows(rows: int, size: int) -> np.ndarray:
    """Return the numbers of all rows, or of a fixed random sample, in ascending order."""
    if rows <= size:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, size, replace=False))
