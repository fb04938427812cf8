"""Decode the rows of a shard in threads, one bounded window of encoder inputs at a time.

On a GPU the next window is decoded while the current one is encoded. On a CPU decoding and encoding
would compete for the same cores, so they alternate, each with all cores.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from mmfeat.encoders import Encoder
from mmfeat.errors import RecordError
from mmfeat.features.column_format import RowStatus
from mmfeat.records.modalities import modality_of
from mmfeat.shards.shard_reader import ShardRecord

WINDOW_ROWS = 512
"""Rows per window: enough to batch texts of similar length."""

WINDOW_BYTES = 128 << 20
"""A window with more media bytes than this ends early."""

_CHUNK_ROWS = 8
"""Rows per call of a thread."""


@dataclass
class DecodedWindow:
    """Decoded rows of a shard.

    Attributes:
        keys: key of each row.
        items: column → the encoder input of each row, or a `RowStatus` if it has none.
        bytes_read: column → bytes of the members that were decoded.
    """

    keys: list[str]
    items: dict[str, list[Any]]
    bytes_read: dict[str, int]


def decode_windows(
    rows: Iterable[ShardRecord], encoders: Mapping[str, Encoder], *, threads: int, prefetch: bool
) -> Iterator[DecodedWindow]:
    """Decode the rows of a shard, window by window, in order.

    Args:
        rows: rows of the shard.
        encoders: column → encoder.
        threads: number of decoding threads.
        prefetch: whether to decode the next window while the caller uses the current one.
    """
    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as prefetcher:
        windows = (_decode_window(block, encoders, pool) for block in _split_rows(rows))
        if not prefetch:
            yield from windows
            return
        next_window = prefetcher.submit(next, windows, None)
        while (window := next_window.result()) is not None:
            next_window = prefetcher.submit(next, windows, None)
            yield window


def _split_rows(rows: Iterable[ShardRecord]) -> Iterator[list[ShardRecord]]:
    """Yield blocks of rows, bounded in number and bytes."""
    block: list[ShardRecord] = []
    block_bytes = 0
    for row in rows:
        block.append(row)
        block_bytes += sum(map(len, row.sample.members.values())) if row.sample else 0
        if len(block) == WINDOW_ROWS or block_bytes >= WINDOW_BYTES:
            yield block
            block, block_bytes = [], 0
    if block:
        yield block


def _decode_window(
    rows: Sequence[ShardRecord], encoders: Mapping[str, Encoder], pool: ThreadPoolExecutor
) -> DecodedWindow:
    chunks = [rows[start : start + _CHUNK_ROWS] for start in range(0, len(rows), _CHUNK_ROWS)]
    items: dict[str, list[Any]] = {}
    bytes_read: dict[str, int] = {}
    for column, encoder in encoders.items():
        results = pool.map(lambda chunk, e=encoder: [_decode_row(e, row) for row in chunk], chunks)
        pairs = [pair for result in results for pair in result]
        items[column] = [item for item, _ in pairs]
        bytes_read[column] = sum(size for _, size in pairs)
    return DecodedWindow([row.key for row in rows], items, bytes_read)


def _decode_row(encoder: Encoder, row: ShardRecord) -> tuple[Any, int]:
    """Return the encoder input, or a `RowStatus` if there is none, and the bytes decoded."""
    modality = encoder.modality
    try:
        if row.problem:
            raise row.problem
        content = find_member(row, modality)
        if content is None:
            reason = row.statuses.get(modality, "missing")
            if reason == "ok":
                raise RecordError("damaged_shard", f"the tar ends before its {modality}")
            return RowStatus("missing", reason), 0
        return encoder.decode(content), len(content)
    except RecordError as error:
        return RowStatus("failed", error.reason, error.detail), 0
    except Exception as error:
        return RowStatus("failed", "encoder_failed", f"{type(error).__name__}: {error}"), 0


def find_member(row: ShardRecord, modality: str) -> bytes | None:
    """Return the content of a row's first member of a modality, or None if it has none.

    Raises:
        RecordError: the member exists but cannot be used.
    """
    if row.sample is None:
        return None
    for extension, problem in row.sample.problems.items():
        if modality_of(extension) == modality:
            raise problem
    for extension, content in row.sample.members.items():
        if modality_of(extension) == modality:
            return content
    return None
