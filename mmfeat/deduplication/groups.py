"""Groups of rows: connected components of the pairs that were found."""

import os

import numpy as np


class Groups:
    """A disjoint-set forest over the rows of a store. Its arrays are files, not memory.

    The root of a group is its first row.

    Args:
        folder: an existing folder.
        rows: number of rows.

    Attributes:
        sizes: int64, shape (rows,): `count_sizes` sets the number of rows of each group at its
            root.
        kept: int64, shape (rows,): at the root of a group, the row that is kept of it, once known.
        scores: float32, shape (rows,): highest similarity to another row of the group; 0 outside of
            groups.
    """

    def __init__(self, folder: str, rows: int) -> None:
        shape = (max(1, rows),)
        self._parent = np.memmap(os.path.join(folder, "parents"), np.int64, "w+", shape=shape)
        for start in range(0, rows, 1 << 20):
            self._parent[start : start + (1 << 20)] = np.arange(start, min(rows, start + (1 << 20)))
        self.sizes = np.memmap(os.path.join(folder, "sizes"), np.int64, "w+", shape=shape)
        self.kept = np.memmap(os.path.join(folder, "kept"), np.int64, "w+", shape=shape)
        self.scores = np.memmap(os.path.join(folder, "scores"), np.float32, "w+", shape=shape)

    def root(self, row: int) -> int:
        """Return the first row of the group of a row."""
        parent = self._parent
        root = row
        while (above := int(parent[root])) != root:
            root = above
        while row != root:  # the way is shorter next time
            row, parent[row] = int(parent[row]), root
        return root

    def join(self, rows: np.ndarray, scores: np.ndarray) -> None:
        """Put rows into one group.

        Args:
            rows: int64, shape (n,).
            scores: highest similarity of each to another one, shape (n,).
        """
        roots = {self.root(row) for row in rows.tolist()}
        first = min(roots)
        for root in roots:
            self._parent[root] = first
        self.scores[rows] = np.maximum(self.scores[rows], scores)

    def roots(self, rows: np.ndarray) -> np.ndarray:
        """Return the first row of the group of each row, shape (n,)."""
        found = np.asarray(self._parent[rows])
        while not np.array_equal(above := np.asarray(self._parent[found]), found):
            found = above
        return found

    def count_sizes(self, roots: np.ndarray) -> None:
        """Count rows, given the roots of their groups."""
        np.add.at(self.sizes, roots, 1)

    def grouped(self, rows: np.ndarray) -> np.ndarray:
        """Return which rows share their group with another row: bool, shape (n,)."""
        return np.asarray(self.scores[rows]) > 0
