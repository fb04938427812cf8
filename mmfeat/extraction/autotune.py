"""Autotuning: measure which precision and batch size are fastest for an encoder.

It runs once, on records of the store, before a column is started. The result is written to
column.json, so every shard of the column is made with the same settings, also after a restart.
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
from mmfeat.store import Size

TUNING_RECORDS = 32
"""Number of records to encode."""

MIN_MEAN_COSINE, MIN_COSINE = 0.999, 0.99
"""Lowest accepted cosines between the features of a precision and those of float32."""

_MIN_SPEEDUP = 1.03
"""A larger batch must be faster by this factor."""

_MAX_MISSES = 2
"""Stop after this many batch sizes in a row without a speedup."""

_MIN_REPEATS, _MAX_REPEATS = 2, 10
_MIN_SECONDS = 1.0
"""Repeat fast measurements for this long. Otherwise noise decides."""

_MAX_SEARCH_SECONDS = 4.0
"""Try no larger batch after this time."""


@dataclass(frozen=True)
class TunedSettings:
    """Result of autotuning.

    Attributes:
        precision: of the weights and the forward pass.
        batch_size: maximum number of records per batch.
        measured: measurements for column.json: records/s and cosine to float32 per precision,
            records/s per batch size.
    """

    precision: Precision
    batch_size: Size
    measured: dict[str, Any]


def autotune(
    spec: EncoderSpec, settings: Settings, members: Sequence[bytes], batch_size: int
) -> tuple[Encoder, TunedSettings]:
    """Load an encoder with the fastest precision and batch size.

    Args:
        spec: the encoder to load.
        settings: with the requested precision; `auto` = measure it.
        members: media bytes of up to `TUNING_RECORDS` records. Empty = use the defaults.
        batch_size: requested batch size; 0 = measure it.
    """
    is_auto = settings.precision == "auto"
    precision: Precision = "float32" if is_auto else settings.precision
    encoder = spec.load(replace(settings, precision=precision))
    if "precision" not in encoder.identity():
        return encoder, TunedSettings("float32", batch_size or encoder.batch_size, {})
    measured: dict[str, Any] = {}
    inputs = _decode_inputs(encoder, members)
    if is_auto and inputs:
        encoder, precision, measured["precision"] = _find_precision(spec, settings, encoder, inputs)
    if not batch_size and inputs:
        batch_size, measured["batch_size"] = _find_batch_size(encoder, inputs)
    return encoder, TunedSettings(precision, batch_size or encoder.batch_size, measured)


def _find_precision(
    spec: EncoderSpec, settings: Settings, reference: Encoder, inputs: Sequence[Any]
) -> tuple[Encoder, Precision, dict[str, Any]]:
    """Return the fastest precision with the features of float32.

    Measured on a full batch: on a small one the cost per call would dominate.
    """
    inputs = _fill_batch(reference, inputs)
    exact = _as_matrix(reference.encode(inputs))
    speed = _measure_speed(partial(reference.encode, inputs), len(inputs))
    best, best_precision, best_speed = reference, "float32", speed
    measured: dict[str, Any] = {"float32": {"records_per_second": round(speed, 2)}}
    candidates: tuple[Precision, ...] = ("bfloat16", "float16") if reference.on_gpu else (
        "bfloat16",
    )  # fmt: skip
    for precision in candidates:
        encoder = spec.load(replace(settings, precision=precision))
        cosines = _row_cosines(_as_matrix(encoder.encode(inputs)), exact)
        speed = _measure_speed(partial(encoder.encode, inputs), len(inputs))
        measured[precision] = {
            "records_per_second": round(speed, 2),
            "cosine_mean": round(float(cosines.mean()), 6),
            "cosine_min": round(float(cosines.min()), 6),
        }
        is_accurate = cosines.mean() >= MIN_MEAN_COSINE and cosines.min() >= MIN_COSINE
        if is_accurate and speed > best_speed:
            best, best_precision, best_speed = encoder, precision, speed
    return best, best_precision, measured  # type: ignore[return-value]


def _fill_batch(encoder: Encoder, inputs: Sequence[Any]) -> list[Any]:
    """Repeat the inputs until they use up the encoder's budget."""
    if encoder.budget is None:
        return list(inputs)
    fitting = encoder.budget // max(map(encoder.length, inputs))
    return list(islice(cycle(inputs), max(len(inputs), min(fitting, encoder.batch_size))))


def _find_batch_size(encoder: Encoder, inputs: Sequence[Any]) -> tuple[int, dict[str, float]]:
    """Return the smallest batch size that is about as fast as any larger one.

    Speed does not grow evenly with the size, so one size without a speedup does not end the
    search. An encoder with a budget keeps its batch size: the budget bounds its batches.
    """
    measured: dict[str, float] = {}
    if encoder.budget is not None:
        return encoder.batch_size, measured
    size = best_size = min(8, encoder.batch_size)
    best_speed, misses = 0.0, 0
    deadline = time.perf_counter() + _MAX_SEARCH_SECONDS
    while size <= encoder.batch_size and misses < _MAX_MISSES and time.perf_counter() < deadline:
        batch = [inputs[i % len(inputs)] for i in range(size)]
        try:
            speed = _measure_speed(partial(encoder.encode, batch), size)
        except Exception:
            break  # out of memory
        measured[str(size)] = round(speed, 2)
        if speed >= best_speed * _MIN_SPEEDUP:
            best_size, best_speed, misses = size, speed, 0
        else:
            misses += 1
        size *= 2
    return best_size, measured


def _decode_inputs(encoder: Encoder, members: Sequence[bytes]) -> list[Any]:
    """Decode the records that can be decoded and encoded."""
    inputs = []
    for member in members[:TUNING_RECORDS]:
        with suppress(Exception):  # extraction reports it
            inputs.append(encoder.decode(member))
    return _keep_encodable(encoder, inputs)


def _keep_encodable(encoder: Encoder, inputs: list[Any]) -> list[Any]:
    """Return the inputs on which the encoder does not fail."""
    try:
        if inputs:
            encoder.encode(inputs)
    except Exception:
        half = len(inputs) // 2
        if not half:
            return []
        return _keep_encodable(encoder, inputs[:half]) + _keep_encodable(encoder, inputs[half:])
    return inputs


def _as_matrix(features: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Return one vector per row: of a record, or of a token."""
    return features if isinstance(features, np.ndarray) else np.concatenate(features)


def _row_cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosines: np.ndarray = (a * b).sum(axis=-1) / np.maximum(norms, 1e-12)
    return cosines


def _measure_speed(action: Callable[[], Any], records: int) -> float:
    """Return records per second of the fastest repetition."""
    seconds: list[float] = []
    while len(seconds) < _MIN_REPEATS or (
        sum(seconds) < _MIN_SECONDS and len(seconds) < _MAX_REPEATS
    ):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return records / min(seconds)
