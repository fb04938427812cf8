"""The order of the training rows in an epoch: blocks of neighbours, several shuffled together.

Rows that stand together in the store are read together, so that an epoch reads the store about
once whatever its size. The order is the same wherever the features are, and so are the weights.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mmfeat.features.column_format import Column

BLOCK = 8192
"""Training rows in a block."""

BLOCKS = 4
"""Blocks that are shuffled together."""

_BYTES = 1 << 28
"""Most bytes of features in a buffer; rows of many tokens make shorter blocks."""


class Buffer(NamedTuple):
    """Rows that are in memory together.

    Attributes:
        rows: int64, ascending: numbers of the dataset's rows.
        order: int64: positions in `rows`, in the order they are trained on.
    """

    rows: np.ndarray
    order: np.ndarray


def block_size(columns: Sequence[Column]) -> int:
    """Rows in a block of these columns."""
    row = sum(max(1, c.max_tokens) * c.dim * np.dtype(c.dtype).itemsize for c in columns)
    return max(1, min(BLOCK, _BYTES // (BLOCKS * row)))


def in_order(rows: np.ndarray, block: int) -> Iterator[Buffer]:
    """The rows as they stand."""
    for start in range(0, len(rows), BLOCKS * block):
        part = rows[start : start + BLOCKS * block]
        yield Buffer(part, np.arange(len(part)))


def shuffled(
    rows: np.ndarray, block: int, rng: np.random.Generator, classes: np.ndarray | None = None
) -> Iterator[Buffer]:
    """The rows of an epoch in an order drawn anew.

    Args:
        rows: int64, ascending.
        block: rows in a block.
        rng: draws the order.
        classes: of every row of the dataset. If given, a buffer's rows are drawn with replacement,
            each of its classes equally often; else every row comes once.
    """
    starts = rng.permutation(np.arange(0, len(rows), block))
    for together in np.array_split(starts, -(-len(starts) // BLOCKS)):
        held = np.concatenate([rows[start : start + block] for start in np.sort(together)])
        if classes is None:
            yield Buffer(held, rng.permutation(len(held)))
        else:
            yield Buffer(held, balanced(classes[held], rng))


def balanced(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions drawn with replacement, as many as there are, each class equally often."""
    _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    by_class = np.argsort(inverse, kind="stable")
    starts = np.cumsum(counts) - counts
    turns = np.arange(len(classes)) + rng.integers(len(counts))
    drawn = rng.permutation(turns % len(counts))
    return by_class[starts[drawn] + rng.integers(0, counts[drawn])]
