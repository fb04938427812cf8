"""Decide whether to compile the forward pass: if that saves more time than it takes."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from mmfeat.encoders import CompileError, Encoder, Settings
from mmfeat.extraction.tuning.quality import Losses
from mmfeat.extraction.tuning.sample import (
    TuningSample,
    encode_sample,
    measure_speed,
    repeat_to,
)
from mmfeat.system import console

_USUAL_SECONDS, _USUAL_SHARE = 20.0, 0.25
"""Time of compiling a vision transformer, and the largest share of the time of the forward pass
that it saves. Measured on an H100: 20 s, and 2,206 → 2,745 images/s."""

_MIN_SECONDS = 0.2


def find_compilation(
    encoder: Encoder,
    sample: TuningSample,
    inputs: Sequence[Any],
    batch_size: int,
    records: int,
    settings: Settings,
) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder, compiled or not, and what was measured.

    With `auto` it compiles on a GPU only, where a compiled forward pass is known to be faster. If
    the compiler fails, or if the features change, the encoder stays as it is.

    Args:
        encoder: the encoder, with the chosen precision and decoder.
        sample: records, and their features in float32 or in the requested precision.
        inputs: the same records, decoded for the encoder.
        batch_size: the chosen batch size.
        records: records of the column.
        settings: the requested settings.
    """
    measured: dict[str, Any] = {"chosen": False}
    is_auto = settings.compile == "auto"
    if is_auto and not encoder.on_gpu:
        return encoder, {}
    batch = repeat_to(batch_size, inputs)
    decoding = _decoding_speed(encoder, sample, batch_size, settings.threads)
    eager = _encoding_speed(encoder, batch)
    records = -(-records // max(1, len(encoder.devices)))
    seconds = records / min(eager, decoding)
    measured["eager"] = {"records_per_second": round(eager, 2), "seconds": round(seconds, 1)}
    if is_auto and seconds * _USUAL_SHARE < _USUAL_SECONDS:
        return encoder, measured
    started = time.perf_counter()
    try:
        compiled = encoder.compiled(batch_size)
    except CompileError as error:
        return encoder, measured | {"reason": _note(str(error))}
    cost = time.perf_counter() - started
    losses = Losses.measure(encode_sample(compiled, sample.members).features, sample.features)
    speed = _encoding_speed(compiled, batch)
    measured["compiled"] = {
        "records_per_second": round(speed, 2),
        "seconds": round(records / min(speed, decoding), 1),
        "compile_seconds": round(cost, 1),
        **losses.facts(),
    }
    if not losses.accepted:
        return encoder, measured | {"reason": _note("it changes the features")}
    pays = seconds - records / min(speed, decoding) > cost
    if is_auto and not pays:
        return encoder, measured
    return compiled, measured | {"chosen": True}


def _encoding_speed(encoder: Encoder, batch: Sequence[Any]) -> float:
    """Return records/s of one of the threads that encode: it has the code that was compiled."""
    encode = partial(encoder.encode, batch)
    with ThreadPoolExecutor(1, initializer=encoder.prepare_thread) as pool:
        return pool.submit(measure_speed, encode, len(batch), _MIN_SECONDS).result()


def _decoding_speed(encoder: Encoder, sample: TuningSample, size: int, threads: int) -> float:
    """Return records/s of decoding on the CPU, which overlaps with the forward pass on a GPU."""
    members = repeat_to(size, sample.members)
    with ThreadPoolExecutor(threads or None) as pool:
        return measure_speed(lambda: list(pool.map(encoder.decode, members)), size, 0.0)


def _note(reason: str) -> str:
    console.print_err(f"mmfeat extract: the forward pass is not compiled: {reason}")
    return reason
