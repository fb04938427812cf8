"""Write one feature column of one shard: the file first, then the receipt with its counts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from mmfeat.extraction.encoding import ColumnEncoder
from mmfeat.features import TableFiles, column_schema
from mmfeat.store import Receipt, keys_digest
from mmfeat.system import progress


class ColumnWriter:
    """Encode the rows of one shard into one column file.

    Use it as a context manager: the file appears when the block ends without an error. Then
    `commit` writes the receipt.

    Args:
        table: where the column is written.
        shard: name of the shard.
        encoder: encodes the rows of the claimed column.
        fresh: as in `ShardAttempt`.
    """

    def __init__(
        self, table: TableFiles, shard: str, encoder: ColumnEncoder, *, fresh: bool = False
    ) -> None:
        self._fresh = fresh
        self._table, self._shard = table, shard
        self._encoder = encoder
        self._keys: list[str] = []
        self._rejected: Counter[str] = Counter()
        self._status: Counter[str] = Counter()
        self._bytes_read = 0

    def __enter__(self) -> Self:
        self._attempt = self._table.attempt(self._shard, fresh=self._fresh)
        with ExitStack() as stack:
            stack.enter_context(self._encoder)
            name = self._table.receipt_name(f"{self._shard}.arrow")
            output = stack.enter_context(self._attempt.create(name))
            schema = column_schema(self._encoder.column.shape)
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
            self._append(all_rows=True)

    def write(self, keys: Sequence[str], items: Sequence[Any], bytes_read: int) -> None:
        """Encode a window of rows and append it to the file; arguments as in `ColumnEncoder.add`.

        The file has the rows of earlier windows, while the last ones are still being encoded.
        """
        self._encoder.add(keys, items, bytes_read)
        self._append()

    def _append(self, *, all_rows: bool = False) -> None:
        for keys, rows, bytes_read in self._encoder.take(all_rows=all_rows):
            with progress.METRICS.timed("write"):
                self._arrow.write_batch(rows)
            self._keys += keys
            self._bytes_read += bytes_read
            self._status.update(rows["status"].to_pylist())
            self._rejected.update(rows["reason"].drop_null().to_pylist())

    def commit(self, source: Mapping[str, Any], *, seconds: float) -> None:
        """Write the receipt."""
        receipt = Receipt(
            shard=self._shard,
            config_hash=self._encoder.column.fingerprint,
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
