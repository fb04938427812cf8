"""Decode the records of a shard in threads, one bounded window of encoder inputs at a time.

On a GPU the next window is decoded while the current one is encoded. On a CPU the caller asks for
the next window while its batches wait for a core, so no core is idle without a thread for it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
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

CHUNK_RECORDS = 8
"""Records per call of a thread."""


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
    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as prefetcher:
        blocks = _split_records(records)
        windows = (_decode_window(block, encoders, slots, pool) for block in blocks)
        if not prefetch:
            yield from windows
            return
        next_window = prefetcher.submit(next, windows, None)
        while (window := next_window.result()) is not None:
            next_window = prefetcher.submit(next, windows, None)
            yield window


def _split_records(records: Iterable[ShardRecord]) -> Iterator[list[ShardRecord]]:
    """Yield blocks of records, bounded in number and bytes."""
    block: list[ShardRecord] = []
    block_bytes = 0
    for record in records:
        block.append(record)
        block_bytes += sum(map(len, record.sample.members.values())) if record.sample else 0
        if len(block) == WINDOW_RECORDS or block_bytes >= WINDOW_BYTES:
            yield block
            block, block_bytes = [], 0
    if block:
        yield block


def _decode_window(
    records: Sequence[ShardRecord],
    encoders: Mapping[str, Encoder],
    slots: Mapping[str, str],
    pool: ThreadPoolExecutor,
) -> DecodedWindow:
    items: dict[str, list[Any]] = {}
    bytes_read: dict[str, int] = {}
    for column, encoder in encoders.items():
        pairs = _decode_column(records, encoder, slots[column], pool)
        items[column] = [item for item, _ in pairs]
        bytes_read[column] = sum(size for _, size in pairs)
    return DecodedWindow([record.key for record in records], items, bytes_read)


def _decode_column(
    records: Sequence[ShardRecord], encoder: Encoder, slot: str, pool: ThreadPoolExecutor
) -> list[tuple[Any, int]]:
    """Return the result of `_decode_record` for each record, those without decoding at once."""
    pairs: list[tuple[Any, int]] = [(None, 0)] * len(records)
    left = range(len(records))
    if type(encoder).keep is not Encoder.keep:
        pairs = [_decode_record(encoder, encoder.keep, slot, record) for record in records]
        left = [row for row, (item, _) in enumerate(pairs) if item is None]  # type: ignore[assignment]
    chunks = [left[start : start + CHUNK_RECORDS] for start in range(0, len(left), CHUNK_RECORDS)]
    decode = partial(_decode_chunk, encoder, slot)
    results = pool.map(decode, ([records[row] for row in chunk] for chunk in chunks))
    for row, pair in zip(left, chain.from_iterable(results), strict=True):
        pairs[row] = pair
    return pairs


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
