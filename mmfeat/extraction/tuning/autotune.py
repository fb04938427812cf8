"""Autotuning: measure which precision, decoder and batch size are fastest for an encoder.

It runs once, on records of the store, before a column is started. The result is written to
column.json, so every shard of the column is made with the same settings, also after a restart.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from typing import Any, Literal

import numpy as np

from mmfeat.encoders import Encoder, EncoderSpec
from mmfeat.encoders.settings import Precision, Settings
from mmfeat.storage import Size

TUNING_RECORDS = 32
"""Number of records to encode."""

MIN_MEAN_COSINE, MIN_COSINE = 0.999, 0.99
"""Lowest accepted cosines between the features of a precision and those of float32."""

MAX_MEAN_LOSS, MAX_LOSS = 0.02, 0.1
"""Highest accepted 1 - cosine to the features of the CPU, as a share of the mean 1 - cosine between
different records."""

_MIN_SPEEDUP = 1.03
"""A larger batch must be faster by this factor."""

_MAX_MISSES = 2
"""Stop after this many batch sizes in a row without a speedup."""

_MIN_REPEATS, _MAX_REPEATS = 2, 10
_MIN_SECONDS, _MIN_SECONDS_ON_GPU = 1.0, 0.2
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
        decode: where JPEGs are decoded.
    """

    precision: Precision
    batch_size: Size
    measured: dict[str, Any]
    decode: Literal["cpu", "gpu"] = "cpu"


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
    encoder = spec.load(replace(settings, precision=precision, decode="cpu"))
    if settings.decode == "gpu" and encoder.modality == "image":
        encoder.decoding_on_gpu()  # refuses what it cannot do
    if "precision" not in encoder.identity():
        return encoder, TunedSettings("float32", batch_size or encoder.batch_size, {})
    measured: dict[str, Any] = {}
    decode: Literal["cpu", "gpu"] = "cpu"
    pairs = _decode_inputs(encoder, members)
    usable, inputs = [member for member, _ in pairs], [item for _, item in pairs]
    reference = encoder
    if is_auto and inputs:
        encoder, precision, measured["precision"] = _find_precision(spec, settings, encoder, inputs)
    if settings.decode == "gpu" and encoder.modality == "image":
        encoder, decode = encoder.decoding_on_gpu(), "gpu"
    elif settings.decode == "auto" and encoder.can_decode_on_gpu and inputs:
        on_gpu, exact = encoder.decoding_on_gpu(), _as_matrix(reference.encode(inputs))
        measured["decode"] = _compare_decoding(encoder, on_gpu, usable, exact, settings.threads)
        if measured["decode"]["chosen"] == "gpu":
            encoder, decode = on_gpu, "gpu"
    if decode == "gpu":
        inputs = [encoder.decode(member) for member in usable]
    if not batch_size and inputs:
        batch_size, measured["batch_size"] = _find_batch_size(encoder, inputs)
    batch_size = batch_size or encoder.batch_size
    return encoder, TunedSettings(precision, batch_size, measured, decode)


def _compare_decoding(
    on_cpu: Encoder, on_gpu: Encoder, members: Sequence[bytes], exact: np.ndarray, threads: int
) -> dict[str, Any]:
    """Return records/s with JPEGs decoded on the CPU and on the GPU, and which one is chosen.

    Args:
        on_cpu: the encoder.
        on_gpu: the same, decoding on the GPU.
        members: JPEG and other files.
        exact: their features, decoded on the CPU, in float32 or in the requested precision.
        threads: decoding threads.
    """
    batch = list(islice(cycle(members), max(len(members), on_cpu.batch_size)))
    inputs = [on_cpu.decode(member) for member in members]
    cpu_batch = list(islice(cycle(inputs), len(batch)))
    with ThreadPoolExecutor(threads or None) as pool:
        decoding = _measure_speed(lambda: list(pool.map(on_cpu.decode, batch)), len(batch), 0.0)
    # Both overlap, so the slower one counts.
    cpu_speed = min(decoding, _measure_speed(partial(on_cpu.encode, cpu_batch), len(batch), 0.2))
    gpu_batch = [on_gpu.decode(member) for member in batch]
    gpu_speed = _measure_speed(partial(on_gpu.encode, gpu_batch), len(batch), 0.2)
    features = _as_matrix(on_gpu.encode(gpu_batch[: len(members)]))
    mean, highest = relative_losses(features, exact)
    faithful = mean <= MAX_MEAN_LOSS and highest <= MAX_LOSS
    return {
        "cpu": {"records_per_second": round(cpu_speed, 2)},
        "gpu": {
            "records_per_second": round(gpu_speed, 2),
            "loss_mean": round(mean, 6),
            "loss_max": round(highest, 6),
        },
        "chosen": "gpu" if faithful and gpu_speed > cpu_speed * _MIN_SPEEDUP else "cpu",
    }


def relative_losses(features: np.ndarray, exact: np.ndarray) -> tuple[float, float]:
    """Return mean and highest 1 - cosine of rows to exact ones, relative to the spread of these.

    The spread is the mean 1 - cosine between different rows. Without any, the losses are as high
    as they can be.
    """
    unit = exact / np.maximum(np.linalg.norm(exact, axis=-1, keepdims=True), 1e-12)
    pairs = len(unit) * (len(unit) - 1)
    spread = 1 - (float((unit.sum(axis=0) ** 2).sum()) - len(unit)) / pairs if pairs else 0.0
    losses = 1 - _row_cosines(features, exact)
    if spread <= 1e-9 or not np.isfinite(losses).all():
        return float("inf"), float("inf")
    return float(losses.mean()) / spread, float(losses.max()) / spread


def _find_precision(
    spec: EncoderSpec, settings: Settings, reference: Encoder, inputs: Sequence[Any]
) -> tuple[Encoder, Precision, dict[str, Any]]:
    """Return the fastest precision with the features of float32.

    Measured on a full batch: on a small one the cost per call would dominate.
    """
    inputs = _fill_batch(reference, inputs)
    exact = _as_matrix(reference.encode(inputs))
    seconds = _min_seconds(reference)
    speed = _measure_speed(partial(reference.encode, inputs), len(inputs), seconds)
    best, best_precision, best_speed = reference, "float32", speed
    measured: dict[str, Any] = {"float32": {"records_per_second": round(speed, 2)}}
    candidates: tuple[Precision, ...] = ("bfloat16", "float16") if reference.on_gpu else (
        "bfloat16",
    )  # fmt: skip
    for precision in candidates:
        encoder = spec.load(replace(settings, precision=precision, decode="cpu"))
        cosines = _row_cosines(_as_matrix(encoder.encode(inputs)), exact)
        speed = _measure_speed(partial(encoder.encode, inputs), len(inputs), seconds)
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
    size = best_size = min(32 if encoder.on_gpu else 8, encoder.batch_size)
    best_speed, misses = 0.0, 0
    deadline = time.perf_counter() + _MAX_SEARCH_SECONDS
    while size <= encoder.batch_size and misses < _MAX_MISSES and time.perf_counter() < deadline:
        batch = [inputs[i % len(inputs)] for i in range(size)]
        try:
            speed = _measure_speed(partial(encoder.encode, batch), size, _min_seconds(encoder))
        except Exception:
            break  # out of memory
        measured[str(size)] = round(speed, 2)
        if speed >= best_speed * _MIN_SPEEDUP:
            best_size, best_speed, misses = size, speed, 0
        else:
            misses += 1
        size *= 2
    return best_size, measured


def _min_seconds(encoder: Encoder) -> float:
    return _MIN_SECONDS_ON_GPU if encoder.on_gpu else _MIN_SECONDS


def _decode_inputs(encoder: Encoder, members: Sequence[bytes]) -> list[tuple[bytes, Any]]:
    """Return the records that can be decoded and encoded, with their inputs."""
    pairs = []
    for member in members[:TUNING_RECORDS]:
        with suppress(Exception):  # extraction reports it
            pairs.append((member, encoder.decode(member)))
    return _keep_encodable(encoder, pairs)


def _keep_encodable(encoder: Encoder, pairs: list[tuple[bytes, Any]]) -> list[tuple[bytes, Any]]:
    """Return the records on which the encoder does not fail."""
    try:
        if pairs:
            encoder.encode([item for _, item in pairs])
    except Exception:
        half = len(pairs) // 2
        if not half:
            return []
        return _keep_encodable(encoder, pairs[:half]) + _keep_encodable(encoder, pairs[half:])
    return pairs


def _as_matrix(features: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Return one vector per row: of a record, or of a token."""
    return features if isinstance(features, np.ndarray) else np.concatenate(features)


def _row_cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosines: np.ndarray = (a * b).sum(axis=-1) / np.maximum(norms, 1e-12)
    return cosines


def _measure_speed(action: Callable[[], Any], records: int, min_seconds: float) -> float:
    """Return records per second of the fastest repetition."""
    seconds: list[float] = []
    while len(seconds) < _MIN_REPEATS or (
        sum(seconds) < min_seconds and len(seconds) < _MAX_REPEATS
    ):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return records / min(seconds)
