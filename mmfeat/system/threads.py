"""Threads inside one shard: order kept, read-ahead bounded in number and in bytes; processes."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

ENOUGH_BYTES = 4 << 20
"""A batch whose results weigh this much is cut short."""


def end_with_parent() -> None:
    """In a process of a pool: end when the process that started it does, however it ends.

    What is waited for is the end of a pipe that the other process holds: a process that was
    killed keeps its number until someone asks for its exit code, and then the number may be
    another's.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def default_threads() -> int:
    """Threads for work that releases the GIL: one a core, and at least two to overlap reading."""
    return max(2, os.cpu_count() or 2)


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    batch: int = 1,
    weight: Callable[[Result], int] = lambda result: 0,
) -> Iterator[Result]:
    """Results in the order of the items, with a bounded number of them ahead of the reader.

    Handing a single short call to another thread costs more than many such calls: with batches of
    16 sharding takes two thirds of the time. A batch of heavy results is cut short and the rest
    of it is worked off one by one, so that no more than `ENOUGH_BYTES` and one result a batch wait.

    Args:
        function: called in a thread; an error is raised where its result would have come.
        items: what it is called with.
        threads: how many there are.
        batch: items handed over at a time.
        weight: bytes that a result holds.
    """

    def run(block: list[Item]) -> list[Result]:
        results: list[Result] = []
        total = 0
        for item in block:
            results.append(function(item))
            total += weight(results[-1])
            if total >= ENOUGH_BYTES:
                break
        return results

    items = iter(items)
    blocks_ahead = 4 * threads if batch == 1 else threads + 2
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[tuple[list[Item], Future[list[Result]]]] = deque()
        try:
            while block := list(islice(items, batch)):
                ahead.append((block, pool.submit(run, block)))
                if len(ahead) >= blocks_ahead:
                    yield from _finished(function, *ahead.popleft())
            while ahead:
                yield from _finished(function, *ahead.popleft())
        finally:
            for _, future in ahead:
                future.cancel()


def _finished(
    function: Callable[[Item], Result], block: list[Item], future: Future[list[Result]]
) -> Iterator[Result]:
    """The results of a block, and those that were left undone."""
    results = future.result()
    done = len(results)
    results.reverse()
    while results:
        yield results.pop()  # popped, so that what the reader is done with is freed
    yield from map(function, block[done:])
