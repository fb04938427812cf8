"""From the rows of a shard to windows of encoder inputs: decoded in threads, a bound on what waits.

On a GPU the next window is decoded while this one is encoded. On a CPU both would fight for the
same cores, so there they take turns, each with all of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from mmfeat.encoders import Encoder
from mmfeat.errors import RecordError
from mmfeat.features.column_format import RowStatus
from mmfeat.records.modalities import modality_of
from mmfeat.shards.reader import Row

WINDOW = 512
"""Rows decoded together: enough that texts of like length meet."""

WINDOW_BYTES = 128 << 20
"""A window ends before its rows where their bytes are more than this."""

_CHUNK = 8
"""Rows handed to a thread at a time."""


@dataclass
class Window:
    """Rows of a shard, decoded.

    Attributes:
        keys: of the rows.
        items: column → the encoder's input of each row, or an `RowStatus` where it has none.
        bytes_read: column → bytes of the members that were decoded.
    """

    keys: list[str]
    items: dict[str, list[Any]]
    bytes_read: dict[str, int]


def windows(
    rows: Iterable[Row], encoders: Mapping[str, Encoder], *, threads: int, ahead: bool
) -> Iterator[Window]:
    """Decode the rows of a shard, window by window.

    Args:
        rows: in their order.
        encoders: column → encoder.
        threads: threads that decode.
        ahead: whether the next window is decoded while the reader is busy with this one.
    """
    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as reader:
        decoded = (_window(block, encoders, pool) for block in _blocks(rows))
        if not ahead:
            yield from decoded
            return
        following = reader.submit(next, decoded, None)
        while (window := following.result()) is not None:
            following = reader.submit(next, decoded, None)
            yield window


def _blocks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows for one window, bounded in number and in bytes."""
    block: list[Row] = []
    held = 0
    for row in rows:
        block.append(row)
        held += sum(map(len, row.sample.members.values())) if row.sample else 0
        if len(block) == WINDOW or held >= WINDOW_BYTES:
            yield block
            block, held = [], 0
    if block:
        yield block


def _window(
    rows: Sequence[Row], encoders: Mapping[str, Encoder], pool: ThreadPoolExecutor
) -> Window:
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    items: dict[str, list[Any]] = {}
    sizes: dict[str, int] = {}
    for column, encoder in encoders.items():
        found = pool.map(lambda chunk, e=encoder: [_decode(e, row) for row in chunk], chunks)
        pairs = [pair for chunk in found for pair in chunk]
        items[column] = [item for item, _ in pairs]
        sizes[column] = sum(size for _, size in pairs)
    return Window([row.key for row in rows], items, sizes)


def _decode(encoder: Encoder, row: Row) -> tuple[Any, int]:
    """The encoder's input, or what became of the record instead, and bytes that were read."""
    modality = encoder.modality
    try:
        if row.problem:
            raise row.problem
        content = member_of(row, modality)
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


def member_of(row: Row, modality: str) -> bytes | None:
    """The content of a row's first member of a modality; None where it has none.

    Raises:
        RecordError: the member is there and cannot be used.
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
