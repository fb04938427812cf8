"""Autotuning: measure which precision, decoder and batch size are fastest for an encoder.

It runs once, on records of the store, before a column is started. The result is written to
column.json, so every shard of the column is made with the same settings, also after a restart.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from mmfeat.encoders import Encoder, EncoderSpec, Precision, Settings
from mmfeat.errors import MmfeatError
from mmfeat.extraction.tuning.batch_size import find_batch_size
from mmfeat.extraction.tuning.cache import TuningCache, tuning_key
from mmfeat.extraction.tuning.compilation import find_compilation
from mmfeat.extraction.tuning.decoder import compare_decoders
from mmfeat.extraction.tuning.precision import find_precision
from mmfeat.extraction.tuning.sample import encode_sample
from mmfeat.extraction.tuning.settings import TunedSettings

_NO_CACHE = TuningCache("")


def autotune(
    spec: EncoderSpec,
    settings: Settings,
    members: Sequence[bytes],
    batch_size: int,
    records: int,
    cache: TuningCache = _NO_CACHE,
) -> tuple[Encoder, TunedSettings]:
    """Load an encoder with the fastest precision, decoder, batch size and compilation.

    Args:
        spec: the encoder to load.
        settings: with the requested precision; `auto` = measure it.
        members: media bytes of up to `TUNING_RECORDS` records. Empty = use the defaults.
        batch_size: requested batch size; 0 = measure it.
        records: records of the column. The fewer, the less is measured.
        cache: what was measured before on this machine, which is not measured again.
    """
    is_auto = settings.precision == "auto"
    precision: Precision = "float32" if is_auto else settings.precision
    encoder = spec.load(replace(settings, precision=precision, decode="cpu"))
    if settings.decode == "gpu" and encoder.modality == "image":
        encoder.decoding_on_gpu()  # refuses what it cannot do
    if "precision" not in encoder.identity():
        return encoder, TunedSettings("float32", batch_size or encoder.batch_size, {})

    def load(other: Precision) -> Encoder:
        if other == precision:
            return encoder
        cast = encoder.at_precision(other)
        return cast or spec.load(replace(settings, precision=other, decode="cpu"))

    key = tuning_key(encoder, settings, batch_size, records)
    if remembered := cache.find(key):
        with suppress(MmfeatError):  # it is measured again
            return _as_remembered(load(remembered.precision), remembered), remembered
    tuned_encoder, tuned = _measure(encoder, load, settings, members, batch_size, records)
    if tuned.measured and "reason" not in tuned.measured.get("compile", {}):
        cache.keep(key, tuned)
    return tuned_encoder, tuned


def _as_remembered(encoder: Encoder, tuned: TunedSettings) -> Encoder:
    if tuned.decode == "gpu":
        encoder = encoder.decoding_on_gpu()
    return encoder.compiled(tuned.batch_size) if tuned.compile else encoder


def _measure(
    reference: Encoder,
    load: Callable[[Precision], Encoder],
    settings: Settings,
    members: Sequence[bytes],
    batch_size: int,
    records: int,
) -> tuple[Encoder, TunedSettings]:
    """Measure what `settings` leaves open; `load` returns the encoder in another precision."""
    is_auto = settings.precision == "auto"
    precision: Precision = "float32" if is_auto else settings.precision
    measured: dict[str, Any] = {}
    decode: Literal["cpu", "gpu"] = "cpu"
    encoder, sample = reference, encode_sample(reference, members)
    inputs, speed = sample.inputs, sample.records_per_second
    if is_auto and inputs:
        encoder, precision, measured["precision"] = find_precision(reference, sample, load)
        speed = measured["precision"][precision].get("records_per_second", speed)
    if settings.decode == "gpu" and encoder.modality == "image":
        encoder, decode = encoder.decoding_on_gpu(), "gpu"
    elif settings.decode == "auto" and encoder.can_decode_on_gpu and inputs:
        on_gpu = encoder.decoding_on_gpu()
        measured["decode"] = compare_decoders(encoder, on_gpu, sample, settings.threads)
        decode = measured["decode"]["chosen"]
        encoder = on_gpu if decode == "gpu" else encoder
    if decode == "gpu":
        inputs = [encoder.decode(member) for member in sample.members]
    if not batch_size and inputs:
        batch_size, measured["batch_size"] = find_batch_size(encoder, inputs, records, speed)
    batch_size = batch_size or encoder.batch_size
    compiles = False
    if settings.compile != "off" and encoder.can_compile and inputs:
        encoder, found = find_compilation(encoder, sample, inputs, batch_size, records, settings)
        compiles = found.get("chosen", False)
        measured |= {"compile": found} if found else {}
    elif settings.compile == "on" and encoder.can_compile:
        measured["compile"] = {"chosen": False, "reason": "no record of the sample has a feature"}
    return encoder, TunedSettings(precision, batch_size, measured, decode, compiles)
