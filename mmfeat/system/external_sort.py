"""Sort more lines than fit into memory."""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import IO

RUN_BYTES = 64 << 20
"""Bytes of lines sorted in memory at a time."""

_BLOCK_BYTES = 1 << 16
_OBJECT_OVERHEAD = 50
"""Bytes of memory that a bytes object needs besides its content."""


def external_sort(lines: Iterable[bytes], run_bytes: int = RUN_BYTES) -> Iterator[bytes]:
    """Yield lines in ascending order: sort runs in memory, spill them to a file, merge them.

    A single run is not spilled.

    Args:
        lines: each ends in its only line feed.
        run_bytes: bytes sorted in memory at a time.
    """
    lines = iter(lines)
    run = _take_run(lines, run_bytes)
    next_line = next(lines, None)
    if next_line is None:
        yield from run
        return
    with tempfile.TemporaryFile("w+b", prefix="mmfeat-sort-") as spill:
        starts: list[int] = []
        while run:
            starts.append(spill.tell())
            spill.writelines(run)
            run = _take_run(lines, run_bytes, next_line)
            next_line = None
        bounds = pairwise([*starts, spill.tell()])
        yield from heapq.merge(*(_read_run(spill, start, end) for start, end in bounds))


def _take_run(lines: Iterator[bytes], size: int, first: bytes | None = None) -> list[bytes]:
    """Return the next lines of about `size` bytes, sorted."""
    run = [] if first is None else [first]
    total = 0
    for line in lines:
        run.append(line)
        total += len(line) + _OBJECT_OVERHEAD
        if total >= size:
            break
    run.sort()
    return run


def _read_run(spill: IO[bytes], position: int, end: int) -> Iterator[bytes]:
    while position < end:
        spill.seek(position)
        # readlines stops after the line that exceeds the hint. One byte less makes it stop at the
        # end of the run. A hint of 0 would read the whole file.
        hint = min(_BLOCK_BYTES, end - position - 1)
        lines = spill.readlines(hint) if hint else [spill.readline()]
        position = spill.tell()
        yield from lines
