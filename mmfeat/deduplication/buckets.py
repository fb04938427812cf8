"""Rows on disk, in files by bucket, so that one bucket at a time is in memory."""

import os
from collections.abc import Iterator

import numpy as np

_BUFFER_BYTES = 32 << 20
"""Bytes of rows that wait for writing, over all buckets."""


class Buckets:
    """Writes rows into one file per bucket and reads them back.

    Args:
        folder: an existing folder.
        name: first part of the files' names.
        dtype: structured type of a row.
        count: number of buckets.
    """

    def __init__(self, folder: str, name: str, dtype: np.dtype, count: int) -> None:
        self._paths = [os.path.join(folder, f"{name}-{number}") for number in range(count)]
        self._dtype = dtype
        self._waiting: list[list[np.ndarray]] = [[] for _ in range(count)]
        self._waiting_bytes = 0
        self.rows = np.zeros(count, np.int64)

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> None:
        """Add rows.

        Args:
            rows: of the structured type, shape (n,).
            numbers: bucket of each row, shape (n,).
        """
        if not len(rows):
            return
        order = np.argsort(numbers, kind="stable")
        found, starts = np.unique(numbers[order], return_index=True)
        for number, part in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
            self._waiting[number].append(rows[part])
            self.rows[number] += len(part)
        self._waiting_bytes += rows.nbytes
        if self._waiting_bytes >= _BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait."""
        for number, parts in enumerate(self._waiting):
            if parts:
                with open(self._paths[number], "ab") as file:
                    for part in parts:
                        part.tofile(file)
                parts.clear()
        self._waiting_bytes = 0

    def read(self, number: int, block: int) -> Iterator[np.ndarray]:
        """Yield the rows of a bucket in blocks. Call `flush` before."""
        if not self.rows[number]:
            return
        with open(self._paths[number], "rb") as file:
            while len(rows := np.fromfile(file, self._dtype, block)):
                yield rows

    def load(self, number: int) -> np.ndarray:
        """Return all rows of a bucket."""
        blocks = list(self.read(number, max(1, int(self.rows[number]))))
        return blocks[0] if blocks else np.empty(0, self._dtype)

    def remove(self, number: int) -> None:
        """Remove the file of a bucket."""
        if self.rows[number]:
            os.remove(self._paths[number])
