"""Settling what is best measured: the precision of an encoder, and how much it takes at a time.

It happens once, before a column is begun, on records of the store; what came out is written into
column.json, so that each shard of the column is made alike, today and after a kill.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from typing import Any

import numpy as np

from mmfeat.encoders import Encoder, EncoderSpec
from mmfeat.encoders.settings import Precision, Settings

PROBED = 32
"""Records that are encoded."""

MEAN_COSINE, MIN_COSINE = 0.999, 0.99
"""What a precision must reach against float32."""

_GAIN = 1.03
"""A larger batch must be faster by this factor."""

_TRIES = 2
"""After so many sizes in a row that are not, no larger one is tried."""

_REPEATS, _MOST_REPEATS = 2, 10
_SECONDS = 1.0
"""What is quick is measured again until that much time has passed, or noise would decide."""

_PATIENCE = 4.0
"""Seconds after which no larger batch is tried."""


@dataclass(frozen=True)
class Settled:
    """What came out.

    Attributes:
        precision: of the weights and the forward.
        batch_size: records encoded at a time at most.
        measured: the figures, for column.json: per precision records/s and cosine to float32,
            per batch size records/s.
    """

    precision: Precision
    batch_size: int
    measured: dict[str, Any]


def settle(
    spec: EncoderSpec, settings: Settings, members: Sequence[bytes], batch_size: int
) -> tuple[Encoder, Settled]:
    """The encoder as it is to run.

    Args:
        spec: which encoder.
        settings: with the precision that was asked for, perhaps `auto`.
        members: bytes of some records, as many as `PROBED`; none leaves the defaults.
        batch_size: asked for, or 0.
    """
    asked = settings.precision
    encoder = spec.load(replace(settings, precision="float32" if asked == "auto" else asked))
    if "precision" not in encoder.identity():
        return encoder, Settled("float32", batch_size or encoder.batch_size, {})
    measured: dict[str, Any] = {}
    inputs = _decoded(encoder, members)
    precision: Precision = "float32" if asked == "auto" else asked
    if asked == "auto" and inputs:
        encoder, precision, measured["precision"] = _choose(spec, settings, encoder, inputs)
    if not batch_size and inputs:
        batch_size, measured["batch_size"] = _largest_that_pays(encoder, inputs)
    return encoder, Settled(precision, batch_size or encoder.batch_size, measured)


def _choose(
    spec: EncoderSpec, settings: Settings, reference: Encoder, inputs: Sequence[Any]
) -> tuple[Encoder, Precision, dict[str, Any]]:
    """The fastest precision whose features are those of float32, in a batch of the usual size.

    A call costs a small batch more in one precision than in another.
    """
    inputs = _full_batch(reference, inputs)
    exact = _pooled(reference.encode(inputs))
    speed = _speed(partial(reference.encode, inputs), len(inputs))
    best, chosen, fastest = reference, "float32", speed
    facts: dict[str, Any] = {"float32": {"records_per_second": round(speed, 2)}}
    candidates: tuple[Precision, ...] = ("bfloat16", "float16") if reference.on_gpu else (
        "bfloat16",
    )  # fmt: skip
    for precision in candidates:
        encoder = spec.load(replace(settings, precision=precision))
        cosines = _cosines(_pooled(encoder.encode(inputs)), exact)
        speed = _speed(partial(encoder.encode, inputs), len(inputs))
        facts[precision] = {
            "records_per_second": round(speed, 2),
            "cosine_mean": round(float(cosines.mean()), 6),
            "cosine_min": round(float(cosines.min()), 6),
        }
        alike = cosines.mean() >= MEAN_COSINE and cosines.min() >= MIN_COSINE
        if alike and speed > fastest:
            best, chosen, fastest = encoder, precision, speed
    return best, chosen, facts  # type: ignore[return-value]


def _full_batch(encoder: Encoder, inputs: Sequence[Any]) -> list[Any]:
    """The inputs, again and again until a budget is used up."""
    if encoder.budget is None:
        return list(inputs)
    fit = encoder.budget // max(map(encoder.length, inputs))
    return list(islice(cycle(inputs), max(len(inputs), min(fit, encoder.batch_size))))


def _largest_that_pays(encoder: Encoder, inputs: Sequence[Any]) -> tuple[int, dict[str, float]]:
    """The batch size beyond which nothing is gained.

    Speed does not rise evenly up to it, so one size that gains nothing does not end the search.
    Where a budget bounds batches by their length there is nothing to find.
    """
    facts: dict[str, float] = {}
    if encoder.budget is not None:
        return encoder.batch_size, facts
    size = best = min(8, encoder.batch_size)
    fastest, in_vain = 0.0, 0
    began = time.perf_counter()
    while (
        size <= encoder.batch_size and in_vain < _TRIES and time.perf_counter() - began < _PATIENCE
    ):
        batch = [inputs[i % len(inputs)] for i in range(size)]
        try:
            speed = _speed(partial(encoder.encode, batch), size)
        except Exception:
            break  # too large for the memory there is
        facts[str(size)] = round(speed, 2)
        if speed >= fastest * _GAIN:
            best, fastest, in_vain = size, speed, 0
        else:
            in_vain += 1
        size *= 2
    return best, facts


def _decoded(encoder: Encoder, members: Sequence[bytes]) -> list[Any]:
    """Inputs of those records that can be decoded and encoded."""
    inputs = []
    for member in members[:PROBED]:
        with suppress(Exception):  # extraction meets it again, and says so
            inputs.append(encoder.decode(member))
    return _encodable(encoder, inputs)


def _encodable(encoder: Encoder, inputs: list[Any]) -> list[Any]:
    """Those inputs that do not make the encoder fail."""
    try:
        if inputs:
            encoder.encode(inputs)
    except Exception:
        half = len(inputs) // 2
        if not half:
            return []
        return _encodable(encoder, inputs[:half]) + _encodable(encoder, inputs[half:])
    return inputs


def _pooled(features: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """One vector a record; of tokens all of them, one after the other."""
    return features if isinstance(features, np.ndarray) else np.concatenate(features)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosines: np.ndarray = (a * b).sum(axis=-1) / np.maximum(lengths, 1e-12)
    return cosines


def _speed(action: Callable[[], Any], records: int) -> float:
    """Records a second, best of some."""
    seconds: list[float] = []
    while len(seconds) < _REPEATS or (sum(seconds) < _SECONDS and len(seconds) < _MOST_REPEATS):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return records / min(seconds)
