"""Choose the precision of an encoder: the fastest one with the features of float32."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mmfeat.encoders import Encoder, Precision
from mmfeat.extraction.tuning.quality import Losses, row_cosines
from mmfeat.extraction.tuning.sample import (
    TuningSample,
    encode_sample,
    measure_speed,
    repeat_to,
)

_CLEAR_SPEEDUP = 1.5
"""A larger difference in speed needs no second measurement."""

_MIN_SECONDS = 0.5


def find_precision(
    reference: Encoder, sample: TuningSample, load: Callable[[Precision], Encoder]
) -> tuple[Encoder, Precision, dict[str, Any]]:
    """Return the encoder in the chosen precision, the precision, and what was measured.

    On a GPU, half precision is faster on every card that torch supports, so the first one that is
    accurate is chosen. On a CPU both precisions are timed, longer if they are about as fast.

    Args:
        reference: the encoder in float32.
        sample: records encoded by it.
        load: returns the encoder in another precision.
    """
    measured: dict[str, Any] = {}
    if not reference.on_gpu:
        measured["float32"] = {"records_per_second": round(sample.records_per_second, 2)}
    for precision in reference.half_precisions:
        encoder = load(precision)
        half = encode_sample(encoder, sample.members)
        is_accurate, measured[precision] = _compare(half.features, sample.features)
        if not is_accurate:
            continue
        if reference.on_gpu:
            return encoder, precision, measured
        half_speed, speed = _compare_speed(encoder, half, reference, sample)
        measured["float32"]["records_per_second"] = round(speed, 2)
        measured[precision]["records_per_second"] = round(half_speed, 2)
        if half_speed > speed:
            return encoder, precision, measured
    return reference, "float32", measured


def _compare(features: np.ndarray, exact: np.ndarray) -> tuple[bool, dict[str, Any]]:
    """Return whether features may replace those of float32, and why, for column.json."""
    losses = Losses.measure(features, exact)
    cosines = row_cosines(features, exact) if features.shape == exact.shape else np.zeros(1)
    measured = {
        "cosine_mean": round(float(cosines.mean()), 6),
        "cosine_min": round(float(cosines.min()), 6),
    }
    return losses.accepted, measured | losses.facts()


def _compare_speed(
    one: Encoder, one_sample: TuningSample, other: Encoder, other_sample: TuningSample
) -> tuple[float, float]:
    """Return the records per second of two encoders; those of the samples if one is far faster."""
    speeds = one_sample.records_per_second, other_sample.records_per_second
    if max(speeds) > _CLEAR_SPEEDUP * min(speeds):
        return speeds
    # On a full batch: on a small one the cost per call would dominate.
    batch = _fill_batch(one, one_sample.inputs)
    first, second = (
        measure_speed(partial(encoder.encode, batch), len(batch), _MIN_SECONDS)
        for encoder in (one, other)
    )
    return first, second


def _fill_batch(encoder: Encoder, inputs: list[Any]) -> list[Any]:
    """Repeat the inputs until they use up the encoder's budget."""
    if encoder.budget is None:
        return inputs
    fitting = encoder.budget // max(map(encoder.length, inputs))
    return repeat_to(max(len(inputs), min(fitting, encoder.batch_size)), inputs)
