"""Make the feature columns of one shard: read, decode, encode, and write or keep in memory.

If the memory of the GPU does not hold a batch, the shard is made again with batches of half the
size. column.json stores the limit, so that all later shards have it, also after a restart.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pyarrow as pa

from mmfeat.encoders import Encoder
from mmfeat.errors import RecordError
from mmfeat.extraction.column_start import limit_batch_size, read_tuned_settings
from mmfeat.extraction.column_writer import ColumnWriter
from mmfeat.extraction.encoding import (
    BatchTooLargeError,
    ColumnEncoder,
    DecodedWindow,
    EncodedRows,
    decode_windows,
)
from mmfeat.extraction.tuning import TunedSettings
from mmfeat.features import Column, ColumnShard, TableFiles, column_schema, to_column_shard
from mmfeat.shards import ShardRecord
from mmfeat.store import ShardTask
from mmfeat.system import console, progress

Result = TypeVar("Result")


@dataclass(frozen=True)
class ColumnTask:
    """A column of a shard.

    Attributes:
        table: its files.
        column: its description.
        encoder: its encoder.
        tuned: the settings it was started with.
        slot: the part of a record that it reads.
        normalize: whether to scale each vector to length 1.
    """

    table: TableFiles
    column: Column
    encoder: Encoder
    tuned: TunedSettings
    slot: str
    normalize: bool

    def make_encoder(self) -> ColumnEncoder:
        """Return an encoder with batches that the memory of the GPU holds, as far as known."""
        tuned, encoder = self.tuned, self.encoder
        if encoder.on_gpu and (stored := read_tuned_settings(self.table.receipts)):
            tuned = replace(tuned, memory_limit=stored.memory_limit)
        if tuned.usable_batch_size < self.tuned.usable_batch_size and tuned.compile:
            encoder = encoder.compiled(tuned.usable_batch_size)
        return ColumnEncoder(
            self.column,
            encoder,
            batch_size=tuned.usable_batch_size,
            normalize=self.normalize,
        )

    def make_writer(self, task: ShardTask) -> ColumnWriter:
        """Return a writer of the column of a shard."""
        return ColumnWriter(self.table, task.shard, self.make_encoder(), fresh=task.fresh)


@dataclass(frozen=True)
class EncodedShard:
    """Feature columns of a shard in memory.

    Attributes:
        columns: name → column.
        bytes_read: bytes of the members that were decoded.
    """

    columns: dict[str, ColumnShard]
    bytes_read: int


def make_columns(
    task: ShardTask,
    columns: Mapping[str, ColumnTask],
    read_records: Callable[[], Iterable[ShardRecord]],
    source: Mapping[str, Any],
    *,
    threads: int,
) -> None:
    """Make columns of a shard and write their receipts.

    Args:
        task: the shard.
        columns: name → column.
        read_records: returns the records of the shard, from the first on.
        source: what the receipts record of the input.
        threads: decoding threads.
    """
    _with_smaller_batches(
        task, columns, lambda: _write_columns(task, columns, read_records(), source, threads)
    )


def encode_columns(
    task: ShardTask,
    columns: Mapping[str, ColumnTask],
    read_records: Callable[[], Iterable[ShardRecord]],
    *,
    threads: int,
) -> EncodedShard:
    """Make columns of a shard in memory, and write nothing; arguments as in `make_columns`."""
    return _with_smaller_batches(
        task, columns, lambda: _encode_columns(task, columns, read_records(), threads)
    )


def _with_smaller_batches(
    task: ShardTask, columns: Mapping[str, ColumnTask], make: Callable[[], Result]
) -> Result:
    """Call a function again with smaller batches until the memory of the GPU holds them."""
    while True:
        try:
            return make()
        except BatchTooLargeError as error:
            limit = error.size // 2  # smaller each time; a batch of one fails as a record
            console.print_err(
                f"mmfeat extract: shard {task.shard}: {error}. It is made again with at most "
                f"{limit} records per batch of column {error.column}"
            )
            limit_batch_size(columns[error.column].table.receipts, limit)
        free_gpu_memory()


def try_columns(
    task: ShardTask,
    columns: Mapping[str, ColumnTask],
    records: Iterable[ShardRecord],
    *,
    threads: int,
) -> None:
    """Decode and encode records, and write nothing; arguments as in `make_columns`."""
    encoders = {name: column.make_encoder() for name, column in columns.items()}
    for window in _decode(records, columns, threads):
        for name, encoder in encoders.items():
            encoder.encode(window.items[name])


@contextmanager
def _short_collections() -> Iterator[None]:
    """Let garbage collections in this block skip older objects.

    The records of a shard cause full collections. Each would visit all objects of torch and the
    encoder's library, which takes 0.1 s and blocks all threads.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _counted_once() -> Iterator[Callable[[int], None]]:
    """Return a function that counts records as done. An error takes them back: they come again."""
    counted = 0

    def count(records: int) -> None:
        nonlocal counted
        counted += records
        progress.RECORDS_DONE.add(records)

    try:
        yield count
    except BaseException:
        progress.RECORDS_DONE.add(-counted)
        raise


def _write_columns(
    task: ShardTask,
    columns: Mapping[str, ColumnTask],
    records: Iterable[ShardRecord],
    source: Mapping[str, Any],
    threads: int,
) -> None:
    started = time.monotonic()
    with _counted_once() as count:
        with _short_collections(), ExitStack() as stack:
            writers = {
                name: stack.enter_context(column.make_writer(task))
                for name, column in columns.items()
            }
            for window in _decode(_leave_out(records, task.deadly), columns, threads):
                for name, writer in writers.items():
                    writer.write(window.keys, window.items[name], window.bytes_read[name])
                count(len(window.keys))
        for writer in writers.values():
            writer.commit(source, seconds=time.monotonic() - started)


def _encode_columns(
    task: ShardTask,
    columns: Mapping[str, ColumnTask],
    records: Iterable[ShardRecord],
    threads: int,
) -> EncodedShard:
    batches: dict[str, list[EncodedRows]] = {name: [] for name in columns}
    with _counted_once() as count, _short_collections(), ExitStack() as stack:
        encoders = {
            name: stack.enter_context(column.make_encoder()) for name, column in columns.items()
        }
        for window in _decode(_leave_out(records, task.deadly), columns, threads):
            for name, encoder in encoders.items():
                encoder.add(window.keys, window.items[name], window.bytes_read[name])
                batches[name] += encoder.take()
            count(len(window.keys))
        for name, encoder in encoders.items():
            batches[name] += encoder.take(all_rows=True)
    return EncodedShard(
        {name: _to_column(parts, columns[name].column) for name, parts in batches.items()},
        sum(part.bytes_read for parts in batches.values() for part in parts),
    )


def _to_column(parts: Iterable[EncodedRows], column: Column) -> ColumnShard:
    rows = pa.Table.from_batches([part.rows for part in parts], column_schema(column.shape))
    return to_column_shard(rows, column.shape)


def _decode(
    records: Iterable[ShardRecord], columns: Mapping[str, ColumnTask], threads: int
) -> Iterator[DecodedWindow]:
    return decode_windows(
        records,
        {name: column.encoder for name, column in columns.items()},
        {name: column.slot for name, column in columns.items()},
        threads=threads,
        prefetch=any(column.encoder.on_gpu for column in columns.values()),
    )


def _leave_out(records: Iterable[ShardRecord], deadly: Mapping[int, str]) -> Iterator[ShardRecord]:
    """Yield the records; those that kill their process without members."""
    for row, record in enumerate(records):
        if row in deadly and record.sample:
            problem = RecordError("worker_died", deadly[row])
            problems = record.sample.problems | dict.fromkeys(record.sample.members, problem)
            record = replace(record, sample=replace(record.sample, members={}, problems=problems))
        yield record


def free_gpu_memory() -> None:
    """Give memory of the GPU that no object uses back to the system."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()
