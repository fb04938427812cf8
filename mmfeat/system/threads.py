"""Threads inside one shard: results keep their order, and read-ahead is bounded."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_BATCH_BYTES = 4 << 20
"""A batch is cut short when its results reach this size."""


def default_threads() -> int:
    """Return the number of threads for work that releases the GIL.

    One per core, and at least two, so that reading and computing overlap.
    """
    return max(2, os.cpu_count() or 2)


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    batch: int = 1,
    weight: Callable[[Result], int] = lambda result: 0,
) -> Iterator[Result]:
    """Map a function over items in threads; yield the results in the order of the items.

    A bounded number of results waits for the reader. If calls are short, handing each to a thread
    costs more than the call: batches of 16 reduce the time of sharding to two thirds. A batch whose
    results reach `MAX_BATCH_BYTES` is cut short, and its remaining items are processed one by one.

    Args:
        function: called in a thread. Its error is raised in place of its result.
        items: arguments of the function.
        threads: number of threads.
        batch: number of items per batch.
        weight: size of a result in bytes.
    """

    def run(block: list[Item]) -> list[Result]:
        results: list[Result] = []
        total = 0
        for item in block:
            results.append(function(item))
            total += weight(results[-1])
            if total >= MAX_BATCH_BYTES:
                break
        return results

    items = iter(items)
    max_waiting = 4 * threads if batch == 1 else threads + 2
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[list[Item], Future[list[Result]]]] = deque()
        try:
            while block := list(islice(items, batch)):
                waiting.append((block, pool.submit(run, block)))
                if len(waiting) >= max_waiting:
                    yield from _block_results(function, *waiting.popleft())
            while waiting:
                yield from _block_results(function, *waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()


def _block_results(
    function: Callable[[Item], Result], block: list[Item], future: Future[list[Result]]
) -> Iterator[Result]:
    """Yield the results of a block, then those of the items that a cut left over."""
    results = future.result()
    done = len(results)
    results.reverse()
    while results:
        yield results.pop()  # frees each result as soon as the reader is done with it
    yield from map(function, block[done:])
