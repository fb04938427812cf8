"""Choose where JPEGs are decoded: where it is faster with the same features."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from mmfeat.encoders import Encoder
from mmfeat.extraction.encoding import CHUNK_RECORDS
from mmfeat.extraction.tuning.quality import Losses
from mmfeat.extraction.tuning.sample import (
    TuningSample,
    encode_sample,
    measure_speed,
    repeat_to,
)

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
    losses = Losses.measure(decoded.features, sample.features)
    return {
        "cpu": {"records_per_second": round(cpu_speed, 2)},
        "gpu": {"records_per_second": round(gpu_speed, 2), **losses.facts()},
        "chosen": "gpu" if losses.accepted and gpu_speed > cpu_speed * _MIN_SPEEDUP else "cpu",
    }


def _cpu_speed(encoder: Encoder, sample: TuningSample, size: int, threads: int) -> float:
    """Return records/s of decoding and encoding, which overlap: the slower one counts."""
    members, batch = repeat_to(size, sample.members), repeat_to(size, sample.inputs)
    chunks = [members[start : start + CHUNK_RECORDS] for start in range(0, size, CHUNK_RECORDS)]

    def decode(chunk: Sequence[bytes]) -> None:
        for member in chunk:
            encoder.decode(member)

    with ThreadPoolExecutor(threads or None) as pool:
        decoding = measure_speed(lambda: list(pool.map(decode, chunks)), size, 0.0)
    return min(decoding, measure_speed(partial(encoder.encode, batch), size, _MIN_SECONDS))
