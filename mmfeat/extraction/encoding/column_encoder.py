"""Encode the rows of one feature column: batches of similar length, then the row order again."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from mmfeat.encoders import Encoder
from mmfeat.extraction.encoding.batch_encoding import (
    BatchTooLargeError,
    EncodedBatch,
    batch_by_length,
    encode_batch,
)
from mmfeat.features import OK, Column, FeatureShape, RowStatus, make_column_batch
from mmfeat.system import progress

_MAX_WINDOWS = 2
"""Windows that wait for their batches, if several batches are encoded at the same time."""


class EncodedRows(NamedTuple):
    """Rows of a column.

    Attributes:
        keys: key of each row.
        rows: the rows as the column file has them.
        bytes_read: bytes of the members that were decoded.
    """

    keys: Sequence[str]
    rows: pa.RecordBatch
    bytes_read: int


@dataclass
class _Window:
    """Rows that are being encoded.

    Attributes:
        keys: key of each row.
        items: the encoder input of each row, or a `RowStatus` if it has none.
        bytes_read: bytes of the members that were decoded.
        batches: rows of each batch, and a function that returns its results.
    """

    keys: Sequence[str]
    items: Sequence[Any]
    bytes_read: int
    batches: list[tuple[list[int], Callable[[], EncodedBatch]]] = field(default_factory=list)

    def finish(self, shape: FeatureShape) -> EncodedRows:
        """Wait for the batches and return the rows."""
        statuses = [item if isinstance(item, RowStatus) else OK for item in self.items]
        vectors = np.zeros((0 if shape.max_tokens else len(statuses), shape.dim), shape.dtype)
        tokens: list[np.ndarray | None] = [None] * len(statuses)
        for rows, get_encoded in self.batches:
            encoded = get_encoded()
            if isinstance(encoded.features, np.ndarray):
                vectors[rows] = encoded.features
            else:
                for row, feature in zip(rows, encoded.features, strict=True):
                    tokens[row] = feature
            for index, error in encoded.errors.items():
                statuses[rows[index]] = RowStatus("failed", error.reason, error.detail)
        batch = make_column_batch(tokens if shape.max_tokens else vectors, statuses, shape)
        return EncodedRows(self.keys, batch, self.bytes_read)


class ColumnEncoder:
    """Encodes the rows of a column, one window after the other.

    Use it as a context manager: it owns the threads that encode batches.

    Args:
        column: the column.
        encoder: its encoder.
        batch_size: maximum number of records per batch.
        normalize: whether to scale each vector to length 1.
    """

    def __init__(
        self, column: Column, encoder: Encoder, *, batch_size: int, normalize: bool = False
    ) -> None:
        self.column, self._encoder = column, encoder
        self._batch_size, self._normalize = batch_size, normalize
        self._pool: ThreadPoolExecutor | None = None
        self._windows: deque[_Window] = deque()

    def __enter__(self) -> Self:
        if (threads := self._encoder.parallel_batches) > 1:
            self._pool = ThreadPoolExecutor(threads, initializer=self._encoder.prepare_thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def encode(self, items: Sequence[Any]) -> pa.RecordBatch:
        """Encode rows at once; `items` as in `add`."""
        return self._start([], items, 0).finish(self.column.shape).rows

    def add(self, keys: Sequence[str], items: Sequence[Any], bytes_read: int) -> None:
        """Start to encode a window of rows.

        Args:
            keys: key of each row.
            items: the encoder input of each row, or a `RowStatus` if it has none.
            bytes_read: bytes of the members that were decoded.
        """
        self._windows.append(self._start(keys, items, bytes_read))

    def take(self, *, all_rows: bool = False) -> Iterator[EncodedRows]:
        """Yield windows in their order, until only those are left that may still be encoded.

        Args:
            all_rows: whether to wait for all windows.
        """
        max_left = _MAX_WINDOWS if self._pool and not all_rows else 0
        while len(self._windows) > max_left:
            yield self._windows.popleft().finish(self.column.shape)

    def _start(self, keys: Sequence[str], items: Sequence[Any], bytes_read: int) -> _Window:
        """Start to encode the rows, or prepare it if batches are encoded one at a time."""
        window = _Window(keys, items, bytes_read)
        rows = [row for row, item in enumerate(items) if not isinstance(item, RowStatus)]
        lengths = [self._encoder.length(items[row]) for row in rows]
        for batch in batch_by_length(lengths, self._batch_size, self._encoder.budget):
            batch_rows = [rows[index] for index in batch]
            encode = partial(self._encode_batch, [items[row] for row in batch_rows])
            result = self._pool.submit(encode).result if self._pool else encode
            window.batches.append((batch_rows, result))
        return window

    def _encode_batch(self, inputs: Sequence[Any]) -> EncodedBatch:
        try:
            with progress.METRICS.timed("encode"):
                return encode_batch(
                    self._encoder,
                    inputs,
                    self.column.shape,
                    self._normalize,
                    split_large=not self._encoder.on_gpu,
                )
        except BatchTooLargeError as error:
            error.column = self.column.name
            raise
