"""Choose the batch size of an encoder: the smallest one that is about as fast as any other."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from mmfeat.encoders import Encoder
from mmfeat.extraction.tuning.sample import MIN_REPEATS, measure_speed, repeat_to

_MIN_SPEEDUP = 1.03
"""A larger batch must be faster by this factor."""

_FIRST_SIZE, _MIN_SIZE = 32, 8
"""On a CPU: the size that is tried first, and the smallest."""

_GPU_SIZES = 4
"""On a GPU: the largest size of the encoder, and halves of it."""

_MIN_SECONDS, _MIN_SECONDS_ON_GPU = 0.5, 0.1
_MAX_SEARCH_SECONDS = 4.0
_SEARCH_SHARE = 0.05
"""Longest search, as a share of the time that the column takes."""


def find_batch_size(
    encoder: Encoder, inputs: Sequence[Any], records: int, records_per_second: float
) -> tuple[int, dict[str, float]]:
    """Return the batch size, and records per second by size.

    An encoder with a budget keeps its batch size: the budget bounds its batches.

    Args:
        encoder: the encoder.
        inputs: decoded inputs.
        records: records of the column. The search takes a small share of its time.
        records_per_second: expected speed.
    """
    measured: dict[str, float] = {}
    if encoder.budget is not None:
        return encoder.batch_size, measured
    seconds = min(_MAX_SEARCH_SECONDS, _SEARCH_SHARE * records / records_per_second)
    deadline = time.perf_counter() + seconds
    sizes = list(_sizes(encoder))
    if MIN_REPEATS * sizes[0] > seconds * records_per_second:
        return sizes[0], measured
    min_seconds = _MIN_SECONDS_ON_GPU if encoder.on_gpu else _MIN_SECONDS
    too_large = encoder.batch_size + 1
    for size in sizes:
        if time.perf_counter() >= deadline:
            break
        if size >= too_large:
            continue
        batch = repeat_to(size, inputs)
        try:
            speed = measure_speed(partial(encoder.encode, batch), size, min_seconds)
        except Exception:  # out of memory
            too_large = size
            continue
        measured[str(size)] = round(speed, 2)
    if not measured:
        return min(sizes[0], too_large - 1), measured
    enough = max(measured.values()) / _MIN_SPEEDUP
    return min(int(size) for size, speed in measured.items() if speed >= enough), measured


def _sizes(encoder: Encoder) -> Iterator[int]:
    """Yield the sizes to try: on a GPU from the largest down, on a CPU around the usual one."""
    if encoder.on_gpu:
        yield from (encoder.batch_size >> halvings for halvings in range(_GPU_SIZES))
        return
    first = min(_FIRST_SIZE, encoder.batch_size)
    yield first
    larger, smaller = 2 * first, first // 2
    while larger <= encoder.batch_size or smaller >= _MIN_SIZE:
        if larger <= encoder.batch_size:
            yield larger
        if smaller >= _MIN_SIZE:
            yield smaller
        larger, smaller = 2 * larger, smaller // 2
