"""The records that autotuning measures with: decoded, encoded once, and timed."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle, islice
from typing import Any

import numpy as np

from mmfeat.encoders import Encoder

TUNING_RECORDS, _CPU_RECORDS = 32, 16
"""Number of records to encode, and on a CPU, where they take seconds."""

MIN_REPEATS, _MAX_REPEATS = 2, 10
"""Calls of a measurement of speed, at least and at most."""


@dataclass
class TuningSample:
    """Records that an encoder can encode.

    Attributes:
        members: media bytes.
        inputs: the same, decoded.
        features: one row per record, or per token of a record.
        seconds: time of encoding them.
    """

    members: list[bytes]
    inputs: list[Any]
    features: np.ndarray
    seconds: float

    @property
    def records_per_second(self) -> float:
        """Speed of encoding them once."""
        return len(self.inputs) / max(self.seconds, 1e-9)


def encode_sample(encoder: Encoder, members: Sequence[bytes]) -> TuningSample:
    """Decode and encode records. Those that fail are left out: extraction reports them."""
    pairs = []
    for member in members[: TUNING_RECORDS if encoder.on_gpu else _CPU_RECORDS]:
        with suppress(Exception):
            pairs.append((member, encoder.decode(member)))
    threads = encoder.parallel_batches
    size = max(1, -(-len(pairs) // threads))
    parts = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    started = time.perf_counter()
    with ThreadPoolExecutor(threads, initializer=encoder.prepare_thread) as pool:
        results = [*chain.from_iterable(pool.map(partial(_encode_pairs, encoder), parts))]
    seconds = time.perf_counter() - started
    features = [feature for _, _, feature in results]
    matrix = np.concatenate([np.atleast_2d(f) for f in features]) if features else np.empty((0, 0))
    return TuningSample([m for m, _, _ in results], [i for _, i, _ in results], matrix, seconds)


def _encode_pairs(
    encoder: Encoder, pairs: Sequence[tuple[bytes, Any]]
) -> list[tuple[bytes, Any, np.ndarray]]:
    """Return the records on which the encoder does not fail, with their features."""
    if not pairs:
        return []
    try:
        features = encoder.encode([item for _, item in pairs])
    except Exception:
        half = len(pairs) // 2
        if not half:
            return []
        return _encode_pairs(encoder, pairs[:half]) + _encode_pairs(encoder, pairs[half:])
    return [(*pair, feature) for pair, feature in zip(pairs, features, strict=True)]


def repeat_to(size: int, inputs: Sequence[Any]) -> list[Any]:
    """Return a batch of a size, made of repeated inputs."""
    return list(islice(cycle(inputs), size))


def measure_speed(action: Callable[[], Any], records: int, min_seconds: float) -> float:
    """Return records per second of the fastest repetition.

    Args:
        action: what to repeat.
        records: records of one repetition.
        min_seconds: repeat fast actions for this long. Otherwise noise decides.
    """
    seconds: list[float] = []
    while len(seconds) < MIN_REPEATS or (
        sum(seconds) < min_seconds and len(seconds) < _MAX_REPEATS
    ):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return records / min(seconds)
