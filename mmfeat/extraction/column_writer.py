"""Write one feature column of one shard: encode in batches, restore the row order, count rows."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from mmfeat.encoders import Encoder
from mmfeat.extraction.batch_encoding import (
    BatchTooLargeError,
    EncodedBatch,
    batch_by_length,
    encode_batch,
)
from mmfeat.features import (
    OK,
    Column,
    FeatureShape,
    RowStatus,
    TableFiles,
    column_schema,
    make_column_batch,
)
from mmfeat.store import Receipt, keys_digest
from mmfeat.system import progress

_MAX_WINDOWS = 2
"""Windows that wait for their batches, if several batches are encoded at the same time."""


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

    def finish(self, shape: FeatureShape) -> pa.RecordBatch:
        """Wait for the batches and return the rows as the column file has them."""
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
        return make_column_batch(tokens if shape.max_tokens else vectors, statuses, shape)


class ColumnWriter:
    """Encode the rows of one shard into one column file.

    Use it as a context manager: the file appears when the block ends without an error. Then
    `commit` writes the receipt.

    Args:
        table: where the column is written.
        shard: name of the shard.
        column: the claimed column.
        encoder: its encoder.
        batch_size: maximum number of records per batch.
        normalize: whether to scale each vector to length 1.
        fresh: as in `ShardAttempt`.
    """

    def __init__(
        self,
        table: TableFiles,
        shard: str,
        column: Column,
        encoder: Encoder,
        *,
        batch_size: int,
        normalize: bool = False,
        fresh: bool = False,
    ) -> None:
        self._fresh = fresh
        self._table, self._shard = table, shard
        self._column, self._encoder = column, encoder
        self._batch_size, self._normalize = batch_size, normalize
        self._keys: list[str] = []
        self._rejected: Counter[str] = Counter()
        self._status: Counter[str] = Counter()
        self._bytes_read = 0
        self._pool: ThreadPoolExecutor | None = None
        self._windows: deque[_Window] = deque()

    def __enter__(self) -> Self:
        self._attempt = self._table.attempt(self._shard, fresh=self._fresh)
        with ExitStack() as stack:
            if (threads := self._encoder.parallel_batches) > 1:
                self._pool = ThreadPoolExecutor(threads, initializer=self._encoder.prepare_thread)
                stack.callback(self._pool.shutdown, cancel_futures=True)
            name = self._table.receipt_name(f"{self._shard}.arrow")
            output = stack.enter_context(self._attempt.create(name))
            schema = column_schema(self._column.shape)
            self._arrow = stack.enter_context(pa.ipc.new_file(output, schema))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._append_windows(0)

    def encode(self, items: Sequence[Any]) -> pa.RecordBatch:
        """Encode rows without writing them; arguments as in `write`."""
        return self._start([], items, 0).finish(self._column.shape)

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
        shape = self._column.shape
        try:
            with progress.METRICS.timed("encode"):
                return encode_batch(
                    self._encoder,
                    inputs,
                    shape,
                    self._normalize,
                    split_large=not self._encoder.on_gpu,
                )
        except BatchTooLargeError as error:
            error.column = self._column.name
            raise

    def write(self, keys: Sequence[str], items: Sequence[Any], bytes_read: int) -> None:
        """Encode a window of rows and append it to the file.

        Args:
            keys: key of each row.
            items: the encoder input of each row, or a `RowStatus` if it has none.
            bytes_read: bytes of the members that were decoded.
        """
        self._windows.append(self._start(keys, items, bytes_read))
        self._append_windows(_MAX_WINDOWS if self._pool else 0)

    def _append_windows(self, max_left: int) -> None:
        """Append windows to the file until at most `max_left` are still being encoded."""
        while len(self._windows) > max_left:
            self._append(self._windows.popleft())

    def _append(self, window: _Window) -> None:
        rows = window.finish(self._column.shape)
        with progress.METRICS.timed("write"):
            self._arrow.write_batch(rows)
        self._keys += window.keys
        self._bytes_read += window.bytes_read
        self._status.update(rows["status"].to_pylist())
        self._rejected.update(rows["reason"].drop_null().to_pylist())

    def commit(self, source: Mapping[str, Any], *, seconds: float) -> None:
        """Write the receipt."""
        receipt = Receipt(
            shard=self._shard,
            config_hash=self._column.fingerprint,
            records=len(self._keys),
            out=self._status["ok"],
            rejected=dict(self._rejected),
            status=dict(self._status),
            keys_sha256=keys_digest(self._keys),
            source=dict(source),
            bytes_read=self._bytes_read,
            seconds=round(seconds, 3),
        )
        with progress.METRICS.timed("write"):
            self._attempt.commit(receipt)
