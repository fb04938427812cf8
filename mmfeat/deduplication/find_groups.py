"""Find groups of near-duplicates: equal vectors, then clusters, then pairs within each cluster.

Vectors are written to temporary files by cluster, and one cluster at a time is in memory. A cluster
that is too large is divided again. The arrays over all rows are files, too, so memory does not grow
with the store.
"""

import os
from collections import Counter
from collections.abc import Iterator

import numpy as np
import xxhash

from mmfeat.deduplication.buckets import Buckets
from mmfeat.deduplication.clusters import (
    MAX_CLUSTERS,
    assign_clusters,
    fit_clusters,
    sample_size,
)
from mmfeat.deduplication.compare import compare_all, compare_with_leaders
from mmfeat.deduplication.groups import Groups
from mmfeat.deduplication.vector_rows import VectorRows
from mmfeat.system import ProgressBar

LEAF_ROWS = 8192
"""Rows of a cluster whose pairs are all compared."""

_ROOM = 8
"""Clusters for each `LEAF_ROWS` rows: rows belong to several clusters, whose sizes differ."""

_BLOCK_ROWS = 2048
_HASH_BUCKETS = 64
_MAX_DEPTH = 4
_MAX_CHILD = 0.8
"""A cluster of which a larger fraction stays together is not divided again."""

_HASHED = np.dtype([("hash", "<u8"), ("row", "<i8")])


def find_groups(
    vectors: VectorRows, threshold: float, folder: str, left_out: Counter[str]
) -> Groups:
    """Return the groups of rows whose similarity reaches the threshold.

    Args:
        vectors: the rows.
        threshold: lowest cosine of a pair, in every column.
        folder: an empty folder for temporary files; it must outlive the groups.
        left_out: counts the rows that cannot be compared, by reason.
    """
    groups = Groups(folder, vectors.store.records)
    is_copy = np.memmap(
        os.path.join(folder, "copies"), bool, "w+", shape=(max(1, vectors.store.records),)
    )
    # A row counts when it is hashed, when it is assigned, and when its first clusters are compared.
    with ProgressBar("dedup", 3 * vectors.store.records, "steps of records") as bar:
        distinct = _join_equal_rows(vectors, folder, groups, is_copy, left_out, bar)
        _Division(vectors, threshold, folder, groups, bar).divide_store(is_copy, distinct)
    return groups


def _join_equal_rows(
    vectors: VectorRows,
    folder: str,
    groups: Groups,
    is_copy: np.ndarray,
    left_out: Counter[str],
    bar: ProgressBar,
) -> int:
    """Join rows with equal vectors and return the number of distinct ones.

    Args:
        is_copy: bool, shape (rows of the store,): set for rows whose vector an earlier row has.
    """
    buckets = Buckets(folder, "hashes", _HASHED, _HASH_BUCKETS)
    for _, rows, values in vectors.read(left_out):
        hashed = np.empty(len(rows), _HASHED)
        hashed["row"] = rows
        hashed["hash"] = [xxhash.xxh3_64_intdigest(value.tobytes()) for value in values]
        buckets.add(hashed, (hashed["hash"] >> np.uint64(58)).astype(np.int64))
        bar.advance(len(rows))
    buckets.flush()
    distinct = 0
    for number in range(_HASH_BUCKETS):
        hashed = np.sort(buckets.load(number), order=["hash", "row"])
        starts = np.flatnonzero(np.diff(hashed["hash"])) + 1
        distinct += len(starts) + 1 if len(hashed) else 0
        ends = np.append(starts, len(hashed))
        for start, end in zip(np.append(0, starts), ends, strict=True):
            if end - start > 1:
                rows = hashed["row"][start:end]
                groups.join(rows, np.ones(len(rows), np.float32))
                is_copy[rows[1:]] = True
        buckets.remove(number)
    return distinct


class _Division:
    """Divides rows into clusters until all pairs of a cluster can be compared."""

    def __init__(
        self,
        vectors: VectorRows,
        threshold: float,
        folder: str,
        groups: Groups,
        bar: ProgressBar,
    ) -> None:
        self._vectors, self._threshold = vectors, threshold
        self._folder, self._groups, self._bar = folder, groups, bar
        self._dtype = np.dtype([("row", "<i8"), ("vector", vectors.dtype, (sum(vectors.dims),))])
        self._buckets_made = 0
        self._assigned = self._compared = 0  # rows in the first clusters, each as often as assigned

    def divide_store(self, is_copy: np.ndarray, distinct: int) -> None:
        """Compare the distinct rows of the store."""
        buckets = self._make_buckets(1)
        if distinct <= LEAF_ROWS:
            for rows in self._read_store(is_copy):
                buckets.add(rows, np.zeros(len(rows), np.int64))
            buckets.flush()
            self._compare(buckets, 0, 0)
            return
        centroids = self._fit(self._read_store(is_copy), distinct)
        buckets = self._make_buckets(len(centroids))
        for rows in self._read_store(is_copy):
            self._assign(rows, centroids, buckets)
            self._bar.advance(len(rows))
        buckets.flush()
        self._assigned = int(buckets.rows.sum())
        for number in range(len(centroids)):
            self._compare(buckets, number, 1)

    def _read_store(self, is_copy: np.ndarray) -> Iterator[np.ndarray]:
        for _, numbers, values in self._vectors:
            kept = ~np.asarray(is_copy[numbers])
            rows = np.empty(int(kept.sum()), self._dtype)
            rows["row"], rows["vector"] = numbers[kept], values[kept]
            for start in range(0, len(rows), _BLOCK_ROWS):
                yield rows[start : start + _BLOCK_ROWS]

    def _compare(self, buckets: Buckets, number: int, depth: int) -> None:
        """Compare the rows of a bucket, or divide it, and remove its file."""
        count = int(buckets.rows[number])
        if count <= LEAF_ROWS:
            rows = buckets.load(number)
            compare_all(rows["row"], self._unit(rows), *self._rules)
        else:
            self._divide(buckets, number, depth)
        buckets.remove(number)
        if depth == 1:
            self._compared += count
            done = 2 + self._compared / self._assigned
            self._bar.update(int(self._vectors.store.records * done))

    def _divide(self, buckets: Buckets, number: int, depth: int) -> None:
        count = int(buckets.rows[number])
        if depth < _MAX_DEPTH:
            centroids = self._fit(buckets.read(number, _BLOCK_ROWS), count)
            children = self._make_buckets(len(centroids))
            for rows in buckets.read(number, _BLOCK_ROWS):
                self._assign(rows, centroids, children)
            children.flush()
            if children.rows.max() <= _MAX_CHILD * count:
                for child in range(len(centroids)):
                    self._compare(children, child, depth + 1)
                return
            for child in range(len(centroids)):
                children.remove(child)
        blocks = buckets.read(number, _BLOCK_ROWS)
        compare_with_leaders(((rows["row"], self._unit(rows)) for rows in blocks), *self._rules)

    @property
    def _rules(self) -> tuple[VectorRows, float, Groups]:
        return self._vectors, self._threshold, self._groups

    def _make_buckets(self, count: int) -> Buckets:
        self._buckets_made += 1
        return Buckets(self._folder, f"bucket-{self._buckets_made}", self._dtype, count)

    def _fit(self, blocks: Iterator[np.ndarray], count: int) -> np.ndarray:
        """Fit clusters on evenly spaced rows.

        Args:
            blocks: the rows.
            count: their number.
        """
        clusters = min(MAX_CLUSTERS, -(-_ROOM * count // LEAF_ROWS))
        step = max(1, count // sample_size(clusters, sum(self._vectors.dims)))
        parts, start = [], 0
        for rows in blocks:
            parts.append(self._joint(self._unit(rows[-start % step :: step])))
            start += len(rows)
        return fit_clusters(np.concatenate(parts), clusters)

    def _assign(self, rows: np.ndarray, centroids: np.ndarray, buckets: Buckets) -> None:
        positions, numbers = assign_clusters(
            self._joint(self._unit(rows)), centroids, self._threshold
        )
        buckets.add(rows[positions], numbers)

    def _unit(self, rows: np.ndarray) -> np.ndarray:
        return self._vectors.normalize(rows["vector"])

    def _joint(self, unit: np.ndarray) -> np.ndarray:
        """Return vectors of length 1 over all columns: their cosine is the mean of the columns'."""
        return unit / np.float32(np.sqrt(len(self._vectors.columns)))
