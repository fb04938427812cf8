"""Audio by `hf:` equals the checkpoint's feature extractor and model."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from mmfeat.errors import RecordError
from tests.mmfeat.encoders.checks import (
    assert_batch_independent,
    assert_features_differ,
    cosine,
    encode_all,
)
from tests.mmfeat.encoders.hf.checkpoints import projection, transformers
from tests.mmfeat.samples import audio_bytes

NAMES = ["clap", "clap_fused", "wav2vec2", "hubert", "whisper"]
LENGTHS = (0.31, 1.7, 0.8, 0.8, 1.2)


def sound(seconds: float, pitch: float = 300, rate: int = 16_000) -> bytes:
    times = np.arange(int(seconds * rate)) / rate
    wave = 0.4 * np.sin(2 * np.pi * pitch * times * (1 + times)) + 0.1 * np.sin(9000 * times)
    return audio_bytes(wave[:, None], rate, "FLAC")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("query", ["?output=pooled", "?output=tokens&max_tokens=7"])
def test_features_do_not_depend_on_batch(load: Callable[..., Any], name: str, query: str) -> None:
    encoder = load(name + query, "audio")
    files = [sound(length, 200 + 90 * number) for number, length in enumerate(LENGTHS)]
    features = assert_batch_independent(encoder, files)
    assert_features_differ(*features[:2])


def test_outputs_equal_the_model(load: Callable[..., Any], models: Callable[[str], Path]) -> None:
    wave, _ = soundfile.read(io.BytesIO(sound(0.7)), dtype="float32")
    for name in ("wav2vec2", "hubert"):
        extractor = transformers.AutoFeatureExtractor.from_pretrained(models(name))
        model = transformers.AutoModel.from_pretrained(models(name)).eval()
        inputs = extractor(wave, sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            expected = model(inputs["input_values"]).last_hidden_state.mean(1)
        encoder = load(name, "audio")
        features = encode_all(encoder, [sound(0.7), sound(1.3)])
        np.testing.assert_allclose(features[:1], expected, atol=1e-5)

    extractor = transformers.AutoFeatureExtractor.from_pretrained(models("clap"))
    model = transformers.AutoModel.from_pretrained(models("clap")).eval()
    encoder = load("clap", "audio")
    item = encoder.decode(sound(0.7, rate=48_000))
    wave, _ = soundfile.read(io.BytesIO(sound(0.7, rate=48_000)), dtype="float32")
    inputs = extractor(wave, sampling_rate=48_000, return_tensors="pt")
    with torch.no_grad():
        result = model.get_audio_features(**inputs)
    np.testing.assert_allclose(encoder.encode([item]), projection(result), atol=1e-5)


def test_padding_frames_are_not_averaged(load: Callable[..., Any]) -> None:
    tokens = load("whisper?output=tokens&max_tokens=1000", "audio")
    half = tokens.decode(sound(1))
    (rows,) = tokens.encode([half])
    assert rows.shape == (50, 16)  # the window of two seconds has 100
    pooled = load("whisper", "audio").encode([half])
    np.testing.assert_allclose(pooled[0], rows.mean(0), atol=1e-5)


@pytest.mark.parametrize(("name", "seconds"), [("clap", 10), ("whisper", 2), ("wav2vec2", 60)])
def test_very_long_and_short_audio(load: Callable[..., Any], name: str, seconds: int) -> None:
    encoder = load(name, "audio")
    start = sound(seconds + 2)
    item = encoder.decode(start)
    assert encoder.length(item) == seconds * encoder.rate
    repeated = encoder.decode(start)
    np.testing.assert_array_equal(item.values, repeated.values)
    tiny = encoder.decode(sound(0.0005))
    assert np.isfinite(encoder.encode([tiny])).all()


def test_channels_and_sample_rates_hardly_matter(load: Callable[..., Any]) -> None:
    encoder = load("whisper", "audio")
    times = np.arange(44_100) / 44_100
    files = []
    for rate, channels in ((16_000, 1), (44_100, 2)):
        wave = np.sin(2 * np.pi * 440 * times[: rate if rate < 44_100 else None] * 44_100 / rate)
        files.append(audio_bytes(np.stack([wave] * channels, 1), rate))
    assert cosine(*encode_all(encoder, files)) > 0.99


@pytest.mark.parametrize("data", [b"", b"no sound", sound(0.1)[:60]])
def test_invalid_audio_is_a_record_error(load: Callable[..., Any], data: bytes) -> None:
    with pytest.raises(RecordError):
        load("whisper", "audio").decode(data)
