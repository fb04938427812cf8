"""The nearest rows of a column, compared one shard at a time."""

import numpy as np

from mmfeat.retrieval.searched_column import SearchedColumn, UnitVectors


class TopRows:
    """Keeps the rows with the highest scores. Equal scores are in the order of the store.

    Args:
        count: number of rows to keep.

    Attributes:
        rows: (score, shard, row in the shard), highest score first.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self.rows: list[tuple[float, str, int]] = []

    def add(self, found: UnitVectors, query: np.ndarray) -> None:
        """Compare the vectors of a shard with the query.

        Args:
            found: the vectors.
            query: float32, shape (d,), of length 1.
        """
        scores = found.vectors @ query
        if len(scores) > self._count:
            best = np.argpartition(-scores, self._count - 1)[: self._count]
            # Rows that tie with the last one are cut in the order of the store.
            best = np.flatnonzero(scores >= scores[best].min())
        else:
            best = np.arange(len(scores))
        order = best[np.argsort(-scores[best], kind="stable")][: self._count]
        self.rows += [(float(scores[i]), found.shard, int(found.rows[i])) for i in order]
        self.rows.sort(key=lambda row: -row[0])
        del self.rows[self._count :]


def search_exactly(
    searched: SearchedColumn, query: np.ndarray, count: int
) -> list[tuple[float, str, int]]:
    """Return the nearest rows of all: cosine, shard, row in the shard; nearest first.

    Args:
        searched: the column.
        query: float32, shape (d,), of length 1.
        count: number of rows.
    """
    top = TopRows(count)
    for found in searched:
        top.add(found, query)
    return top.rows
