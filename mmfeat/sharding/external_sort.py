"""Sorting more lines than memory holds."""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import IO

RUN_BYTES = 64 << 20
"""Bytes of lines sorted in memory at a time."""

_BLOCK_BYTES = 1 << 16
_OVERHEAD = 50
"""Bytes an object costs beside its content."""


def external_sort(lines: Iterable[bytes], run_bytes: int = RUN_BYTES) -> Iterator[bytes]:
    """Lines in ascending order: runs in memory, all but a lone first one spilled, then one merge.

    Args:
        lines: each ends in a line feed and holds no other.
        run_bytes: how much is held at a time.
    """
    lines = iter(lines)
    block = _take(lines, run_bytes)
    following = next(lines, None)
    if following is None:
        yield from block
        return
    with tempfile.TemporaryFile("w+b", prefix="mmfeat-sort-") as spill:
        starts: list[int] = []
        while block:
            starts.append(spill.tell())
            spill.writelines(block)
            block = _take(lines, run_bytes, following)
            following = None
        bounds = pairwise([*starts, spill.tell()])
        yield from heapq.merge(*(_read_run(spill, start, end) for start, end in bounds))


def _take(lines: Iterator[bytes], size: int, first: bytes | None = None) -> list[bytes]:
    """Lines of about that many bytes, sorted."""
    block = [] if first is None else [first]
    total = 0
    for line in lines:
        block.append(line)
        total += len(line) + _OVERHEAD
        if total >= size:
            break
    block.sort()
    return block


def _read_run(spill: IO[bytes], position: int, end: int) -> Iterator[bytes]:
    while position < end:
        spill.seek(position)
        # readlines stops at the first line that takes it beyond the hint, so one byte less
        # makes it stop at the run's end.
        # A hint of nothing would read all the rest.
        hint = min(_BLOCK_BYTES, end - position - 1)
        lines = spill.readlines(hint) if hint else [spill.readline()]
        position = spill.tell()
        yield from lines
