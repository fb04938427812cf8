"""Order of the training rows in an epoch: blocks of consecutive rows, several shuffled together.

Consecutive rows are read together, so an epoch reads the store about once, whatever its size. The
order does not depend on where the features are, so neither do the weights.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mmfeat.features import Column

BLOCK = 8192
"""Maximum number of training rows in a block."""

BLOCKS = 4
"""Number of blocks that are shuffled together."""

_MAX_BYTES = 1 << 28
"""Maximum size of the features shuffled together. Large rows get shorter blocks."""


class ShuffleBlock(NamedTuple):
    """Rows that are in memory together.

    Attributes:
        rows: int64, ascending: row numbers of the dataset.
        order: int64: positions in `rows`, in training order.
    """

    rows: np.ndarray
    order: np.ndarray


def block_size(columns: Sequence[Column]) -> int:
    """Return the number of rows in a block of these columns."""
    row_bytes = sum(max(1, c.max_tokens) * c.dim * np.dtype(c.dtype).itemsize for c in columns)
    return max(1, min(BLOCK, _MAX_BYTES // (BLOCKS * row_bytes)))


def sequential_blocks(rows: np.ndarray, block: int) -> Iterator[ShuffleBlock]:
    """Yield the rows in their own order."""
    for start in range(0, len(rows), BLOCKS * block):
        part = rows[start : start + BLOCKS * block]
        yield ShuffleBlock(part, np.arange(len(part)))


def shuffled_blocks(
    rows: np.ndarray, block: int, rng: np.random.Generator, classes: np.ndarray | None = None
) -> Iterator[ShuffleBlock]:
    """Yield the rows in random order.

    Args:
        rows: int64, ascending.
        block: number of rows in a block.
        rng: source of the order.
        classes: class of every row of the dataset. If given, the rows of a shuffle block are
            sampled with replacement, each of its classes equally often. None = every row once.
    """
    starts = rng.permutation(np.arange(0, len(rows), block))
    for group in np.array_split(starts, -(-len(starts) // BLOCKS)):
        block_rows = np.concatenate([rows[start : start + block] for start in np.sort(group)])
        if classes is None:
            yield ShuffleBlock(block_rows, rng.permutation(len(block_rows)))
        else:
            yield ShuffleBlock(block_rows, sample_balanced(classes[block_rows], rng))


def sample_balanced(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return len(classes) positions sampled with replacement, each class equally often."""
    _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    by_class = np.argsort(inverse, kind="stable")
    starts = np.cumsum(counts) - counts
    turns = np.arange(len(classes)) + rng.integers(len(counts))
    sampled = rng.permutation(turns % len(counts))
    return by_class[starts[sampled] + rng.integers(0, counts[sampled])]
