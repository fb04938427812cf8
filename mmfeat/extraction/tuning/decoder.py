"""Choose where JPEGs are decoded: where it is faster with the same features."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from mmfeat.encoders import Encoder
from mmfeat.extraction.tuning.sample import (
    TuningSample,
    encode_sample,
    measure_speed,
    repeat_to,
    row_cosines,
)

MAX_MEAN_LOSS, MAX_LOSS = 0.02, 0.1
"""Highest accepted 1 - cosine to the features of the CPU, as a share of the mean 1 - cosine between
different records."""

_MIN_SPEEDUP = 1.03
_MIN_SECONDS = 0.2


def compare_decoders(
    on_cpu: Encoder, on_gpu: Encoder, sample: TuningSample, threads: int
) -> dict[str, Any]:
    """Return records/s with JPEGs decoded on the CPU and on the GPU, and which one is chosen.

    Args:
        on_cpu: the encoder.
        on_gpu: the same, decoding on the GPU.
        sample: JPEG and other files, and their features, decoded on the CPU, in float32 or in the
            requested precision.
        threads: decoding threads.
    """
    size = max(len(sample.members), on_cpu.batch_size)
    cpu_speed = _cpu_speed(on_cpu, sample, size, threads)
    decoded = encode_sample(on_gpu, sample.members)
    gpu_batch = repeat_to(size, decoded.inputs)
    gpu_speed = measure_speed(partial(on_gpu.encode, gpu_batch), size, _MIN_SECONDS)
    mean, highest = relative_losses(decoded.features, sample.features)
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


def _cpu_speed(encoder: Encoder, sample: TuningSample, size: int, threads: int) -> float:
    """Return records/s of decoding and encoding, which overlap: the slower one counts."""
    members, batch = repeat_to(size, sample.members), repeat_to(size, sample.inputs)
    with ThreadPoolExecutor(threads or None) as pool:
        decoding = measure_speed(lambda: list(pool.map(encoder.decode, members)), size, 0.0)
    return min(decoding, measure_speed(partial(encoder.encode, batch), size, _MIN_SECONDS))


def relative_losses(features: np.ndarray, exact: np.ndarray) -> tuple[float, float]:
    """Return mean and highest 1 - cosine of rows to exact ones, relative to the spread of these.

    The spread is the mean 1 - cosine between different rows. Without any, the losses are as high
    as they can be.
    """
    if features.shape != exact.shape:
        return float("inf"), float("inf")
    unit = exact / np.maximum(np.linalg.norm(exact, axis=-1, keepdims=True), 1e-12)
    pairs = len(unit) * (len(unit) - 1)
    spread = 1 - (float((unit.sum(axis=0) ** 2).sum()) - len(unit)) / pairs if pairs else 0.0
    losses = 1 - row_cosines(features, exact)
    if spread <= 1e-9 or not np.isfinite(losses).all():
        return float("inf"), float("inf")
    return float(losses.mean()) / spread, float(losses.max()) / spread
