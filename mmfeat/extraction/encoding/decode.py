"""Decode the records of a shard in threads, one bounded window of encoder inputs at a time.

Records are decoded as soon as they are read. On a GPU the next window is read and decoded while the
current one is encoded. On a CPU the caller asks for the next window while its batches wait for a
core, so no core is idle without a thread for it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mmfeat.encoders import Encoder
from mmfeat.errors import DamagedFileError, RecordError
from mmfeat.features import RowStatus
from mmfeat.records import slot_of_extension
from mmfeat.shards import Content, ShardRecord
from mmfeat.system import progress

WINDOW_RECORDS = 512
"""Records per window: enough to batch texts of similar length."""

WINDOW_BYTES = 128 << 20
"""A window with more media bytes than this ends early."""

CHUNK_RECORDS, _CHUNK_BYTES = 8, 8 << 20
"""Records per call of a thread, at most, and bytes after which no more are added."""


@dataclass
class DecodedWindow:
    """Decoded records of a shard.

    Attributes:
        keys: key of each record.
        items: column → the encoder input of each record, or a `RowStatus` if it has none.
        bytes_read: column → bytes of the members that were decoded.
    """

    keys: list[str]
    items: dict[str, list[Any]]
    bytes_read: dict[str, int]


def decode_windows(
    records: Iterable[ShardRecord],
    encoders: Mapping[str, Encoder],
    slots: Mapping[str, str],
    *,
    threads: int,
    prefetch: bool,
) -> Iterator[DecodedWindow]:
    """Decode the records of a shard, window by window, in order.

    Args:
        records: records of the shard.
        encoders: column → encoder.
        slots: column → the slot it reads.
        threads: number of decoding threads.
        prefetch: whether to decode the next window while the caller uses the current one.
    """
    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as reader:
        windows = _start_windows(records, encoders, slots, pool)
        if not prefetch:
            yield from (window.finish() for window in windows)
            return
        next_window = reader.submit(next, windows, None)
        while (window := next_window.result()) is not None:
            next_window = reader.submit(next, windows, None)
            yield window.finish()


@dataclass
class _StartedWindow:
    """Records that are being decoded.

    Attributes:
        keys: key of each record.
        parts: column → the rows of some of its records, and a function that returns the results of
            `_decode_record` for them.
    """

    keys: list[str]
    parts: dict[str, list[tuple[Sequence[int], Callable[[], list[tuple[Any, int]]]]]]

    def finish(self) -> DecodedWindow:
        """Wait for the records."""
        items: dict[str, list[Any]] = {}
        bytes_read = dict.fromkeys(self.parts, 0)
        for column, parts in self.parts.items():
            items[column] = [None] * len(self.keys)
            for rows, get_pairs in parts:
                for row, (item, size) in zip(rows, get_pairs(), strict=True):
                    items[column][row] = item
                    bytes_read[column] += size
        return DecodedWindow(self.keys, items, bytes_read)


def _start_windows(
    records: Iterable[ShardRecord],
    encoders: Mapping[str, Encoder],
    slots: Mapping[str, str],
    pool: ThreadPoolExecutor,
) -> Iterator[_StartedWindow]:
    """Yield windows, bounded in records and bytes. They are decoded while more is read."""
    window, window_bytes = _StartedWindow([], {column: [] for column in encoders}), 0
    for chunk, chunk_bytes in _split_records(records):
        first = len(window.keys)
        window.keys += [record.key for record in chunk]
        for column, encoder in encoders.items():
            window.parts[column] += _start_chunk(encoder, slots[column], chunk, first, pool)
        window_bytes += chunk_bytes
        if len(window.keys) >= WINDOW_RECORDS or window_bytes >= WINDOW_BYTES:
            yield window
            window, window_bytes = _StartedWindow([], {column: [] for column in encoders}), 0
    if window.keys:
        yield window


def _split_records(records: Iterable[ShardRecord]) -> Iterator[tuple[list[ShardRecord], int]]:
    """Yield chunks of records, bounded in number and bytes, and the bytes of their members."""
    chunk: list[ShardRecord] = []
    chunk_bytes = 0
    for record in records:
        chunk.append(record)
        chunk_bytes += sum(map(len, record.sample.members.values())) if record.sample else 0
        if len(chunk) == CHUNK_RECORDS or chunk_bytes >= _CHUNK_BYTES:
            yield chunk, chunk_bytes
            chunk, chunk_bytes = [], 0
    if chunk:
        yield chunk, chunk_bytes


def _start_chunk(
    encoder: Encoder,
    slot: str,
    records: Sequence[ShardRecord],
    first: int,
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[Sequence[int], Callable[[], list[tuple[Any, int]]]]]:
    """Yield rows and a function that returns their results; those without decoding first."""
    rows: Sequence[int] = range(first, first + len(records))
    if type(encoder).keep is not Encoder.keep:
        pairs = [_decode_record(encoder, encoder.keep, slot, record) for record in records]
        left = [index for index, (item, _) in enumerate(pairs) if item is None]
        if not left:
            yield rows, lambda: pairs
            return
        kept = [index for index, (item, _) in enumerate(pairs) if item is not None]
        if kept:
            done = [pairs[index] for index in kept]
            yield [rows[index] for index in kept], lambda: done
        rows, records = [rows[index] for index in left], [records[index] for index in left]
    yield rows, pool.submit(_decode_chunk, encoder, slot, records).result


def _decode_chunk(
    encoder: Encoder, slot: str, records: Sequence[ShardRecord]
) -> list[tuple[Any, int]]:
    with progress.METRICS.timed("decode"):
        return [_decode_record(encoder, encoder.decode, slot, record) for record in records]


def _decode_record(
    encoder: Encoder, decode: Callable[[Any], Any], slot: str, record: ShardRecord
) -> tuple[Any, int]:
    """Return the encoder input, or a `RowStatus` if there is none, and the bytes decoded."""
    try:
        content = find_member(record, slot)
    except RecordError as error:
        return RowStatus("failed", error.reason, error.detail), 0
    if content is None:
        reason = record.statuses.get(slot, "missing")
        if reason != "ok":
            return RowStatus("missing", reason), 0
        if record.sample is None:  # rejected for another part
            return RowStatus("missing", "missing", "sharding rejected the record"), 0
        raise DamagedFileError(f"the tar must have the {slot} of {record.key!r}")
    item = decode_content(encoder, decode, content)
    return item, 0 if isinstance(item, RowStatus) else len(content)


def decode_content(encoder: Encoder, decode: Callable[[Any], Any], content: Content) -> Any:
    """Return the encoder input of the bytes of a member, or a `RowStatus` if there is none.

    Args:
        encoder: the encoder.
        decode: its method to call.
        content: the bytes.
    """
    try:
        return decode(content if encoder.reads_views else bytes(content))
    except RecordError as error:
        return RowStatus("failed", error.reason, error.detail)
    except DamagedFileError:
        raise
    except Exception as error:
        return RowStatus("failed", "encoder_failed", f"{type(error).__name__}: {error}")


def find_member(record: ShardRecord, slot: str) -> Content | None:
    """Return the content of a record's first member of a slot, or None if it has none.

    WebDataset reads extensions in lower case, so the case of a slot does not count.

    Raises:
        RecordError: the member exists but cannot be used.
    """
    if record.sample is None:
        return None
    slot = slot.lower()
    for extension, problem in record.sample.problems.items():
        if _slot_of_extension(extension) == slot:
            raise problem
    for extension, content in record.sample.members.items():
        if _slot_of_extension(extension) == slot:
            return content
    return None


_slot_of_extension = lru_cache(1024)(slot_of_extension)
