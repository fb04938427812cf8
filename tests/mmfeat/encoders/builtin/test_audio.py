"""`builtin:audio` distinguishes sounds as people do, and is robust against any input."""

import csv
import json
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mmfeat.encoders.builtin import audio as builtin_audio
from mmfeat.encoders.builtin.audio import BANDS, LogMelStatistics
from tests.mmfeat import errors
from tests.mmfeat.encoders.checks import assert_valid_vector, cosine, heavy_imports
from tests.mmfeat.samples import (
    NOT_AUDIO,
    audio_bytes,
    corrupted_copies,
    flip_middle_byte,
    without_length,
)
from tests.programs import run_python


def sweep(start: float, end: float, rate: int = 16_000, seconds: float = 0.6) -> np.ndarray:
    """Return a tone that glides between two pitches, and fades in and out."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (start * time + (end - start) / (2 * seconds) * time**2)
    return 0.5 * np.sin(phase) * np.sin(np.pi * time / seconds)


def feature(data: bytes) -> np.ndarray:
    encoder = LogMelStatistics()
    return encoder.encode([encoder.decode(data)])[0]


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    return cosine(one - one.mean(), other - other.mean())


def assert_valid_feature(data: bytes) -> np.ndarray:
    vector = feature(data)
    assert_valid_vector(vector, LogMelStatistics().dim)
    return vector


def reason(data: bytes) -> str:
    return errors.record_error_reason(LogMelStatistics().decode, data)


RISE, FALL = sweep(300, 2500), sweep(2500, 300)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_other_sample_rate_is_similar(rate: int) -> None:
    vector = feature(audio_bytes(sweep(300, 2500, rate), rate, subtype="FLOAT"))
    assert similarity(vector, feature(audio_bytes(RISE, subtype="FLOAT"))) > 0.97


@pytest.mark.parametrize("format", ["FLAC", "OGG", "MP3", "AIFF", "AU", "CAF"])
def test_other_format_is_similar(format: str) -> None:
    vector = assert_valid_feature(audio_bytes(RISE, format=format))
    rise, fall = (feature(audio_bytes(wave)) for wave in (RISE, FALL))
    assert similarity(vector, rise) > 0.9
    assert similarity(vector, rise) > similarity(vector, fall)


def test_loudness_does_not_matter() -> None:
    loud = feature(audio_bytes(RISE, subtype="FLOAT"))
    for gain in (1e-4, 0.1, 100):
        quiet = feature(audio_bytes(gain * RISE, subtype="FLOAT"))
        np.testing.assert_allclose(quiet, loud, atol=1e-3)


def test_channels_are_averaged() -> None:
    mono = feature(audio_bytes(RISE))
    np.testing.assert_allclose(feature(audio_bytes(np.stack([RISE, RISE], 1))), mono, atol=1e-6)
    both = feature(audio_bytes(np.stack([RISE, FALL], 1)))
    np.testing.assert_allclose(both, feature(audio_bytes((RISE + FALL) / 2)), atol=0.02)


def test_constant_offset_does_not_matter() -> None:
    shifted = feature(audio_bytes(RISE + 0.3, subtype="FLOAT"))
    np.testing.assert_allclose(shifted, feature(audio_bytes(RISE, subtype="FLOAT")), atol=1e-3)


def test_silence_at_both_ends_is_trimmed() -> None:
    silence = np.zeros(8_000)
    padded = feature(audio_bytes(np.concatenate([silence, RISE, silence])))
    assert similarity(padded, feature(audio_bytes(RISE))) > 0.97


def test_high_differs_from_low_and_rising_from_falling() -> None:
    low, high = feature(audio_bytes(sweep(300, 300))), feature(audio_bytes(sweep(2500, 2500)))
    assert similarity(low, high) < 0.6
    assert similarity(feature(audio_bytes(RISE)), feature(audio_bytes(FALL))) < 0.6


def test_long_differs_from_short() -> None:
    short, long = (feature(audio_bytes(sweep(300, 2500, seconds=time))) for time in (0.5, 5))
    assert long[-1] > short[-1] > 0


@pytest.mark.parametrize("frames", [1, 2, 10, 399, 400, 401, 5_000])
@pytest.mark.parametrize("level", [0.0, 0.5, 1e-8])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_sounds_without_content_have_valid_vectors(frames: int, level: float, rate: int) -> None:
    assert_valid_feature(audio_bytes(np.full(frames, level), rate, subtype="FLOAT"))


@pytest.mark.parametrize("frames", range(1, 2_000, 97))
def test_sounds_of_few_windows_have_valid_vectors(frames: int) -> None:
    vector = assert_valid_feature(audio_bytes(np.random.default_rng(frames).normal(0, 0.1, frames)))
    assert vector.any()


@pytest.mark.parametrize("rate", [1, 50, 4_000, 192_000, 2_000_000_000])
def test_unusual_sample_rate_is_bounded(rate: int) -> None:
    data = bytearray(audio_bytes(RISE))
    data[24:28] = struct.pack("<I", rate)
    assert_valid_feature(bytes(data))


def test_nan_and_infinite_samples_are_replaced() -> None:
    wave = RISE.astype(np.float32)
    wave[4000:4003] = np.nan, np.inf, -np.inf
    vector = assert_valid_feature(audio_bytes(wave, subtype="FLOAT"))
    assert similarity(vector, feature(audio_bytes(RISE))) > 0.7
    assert_valid_feature(audio_bytes(RISE * 1e300, subtype="DOUBLE"))


def test_features_do_not_depend_on_batch_or_thread() -> None:
    encoder = LogMelStatistics()
    files = [audio_bytes(wave) for wave in (RISE, FALL, RISE[:1], np.zeros(900), sweep(90, 80))]
    with ThreadPoolExecutor(4) as threads:
        batch = list(threads.map(encoder.decode, files))
    together = encoder.encode(batch)
    np.testing.assert_array_equal(encoder.encode(batch[::-1])[::-1], together)
    np.testing.assert_array_equal([feature(data) for data in files], together)
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_long_sound_is_truncated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin_audio, "MAX_SECONDS", 9)
    noise = np.random.default_rng(1).normal(0, 0.1, 160_000)
    np.testing.assert_array_equal(
        feature(audio_bytes(noise)), feature(audio_bytes(noise[:144_000]))
    )
    assert LogMelStatistics().decode(audio_bytes(noise)).shape == (899, BANDS)


def test_stream_of_unknown_length_is_read_to_its_end() -> None:
    data = audio_bytes(RISE, format="FLAC")
    np.testing.assert_array_equal(feature(without_length(data)), feature(data))


def test_truncated_wav_has_the_remaining_frames() -> None:
    data = audio_bytes(RISE)
    np.testing.assert_array_equal(feature(data[:10_044]), feature(audio_bytes(RISE[:5_000])))


@pytest.mark.parametrize("data", NOT_AUDIO)
def test_other_bytes_are_undecodable(data: bytes) -> None:
    assert reason(data) == "undecodable"


def test_corrupted_flac_is_undecodable() -> None:
    assert reason(flip_middle_byte(audio_bytes(RISE, format="FLAC"))) == "undecodable"


@pytest.mark.parametrize("format", ["WAV", "OGG", "AIFF"])
def test_file_without_frames_is_empty(format: str) -> None:
    assert reason(audio_bytes(np.zeros(0), format=format)) == "empty"
    assert reason(audio_bytes(RISE)[:44]) == "empty"


def test_too_many_channels_are_too_large() -> None:
    assert reason(audio_bytes(np.zeros((10, 65)))) == "too_large"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "AIFF"])
def test_corrupted_files_print_nothing_and_raise_only_record_errors(
    format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    content = audio_bytes(RISE[:3000], format=format)
    outcomes = {
        errors.outcome(assert_valid_feature, data) for data in corrupted_copies(content, 60)
    }
    assert "undecodable" in outcomes
    assert outcomes <= {"fine", "undecodable", "empty", "too_large"}
    assert capfd.readouterr() == ("", "")


def test_identity_is_json_with_all_constants() -> None:
    identity = LogMelStatistics().identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity == LogMelStatistics().identity()
    assert identity["name"] == "builtin:audio"
    assert {"version", "bands", "window", "hop", "libsndfile"} <= identity.keys()


def test_spoken_digits_are_distinguished(real_data: Callable[[str], Path]) -> None:
    folder = real_data("spoken_digits")
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["take"]) < 20]
    encoder = LogMelStatistics()
    features = encoder.encode(
        [encoder.decode((folder / row["file_name"]).read_bytes()) for row in rows]
    )
    features -= features.mean(axis=1, keepdims=True)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    digits = np.array([row["label"] for row in rows])
    is_train = np.array([row["split"] == "train" for row in rows])
    model = LogisticRegression(C=30, max_iter=100).fit(features[is_train], digits[is_train])
    assert is_train.sum() == 500
    assert model.score(features[~is_train], digits[~is_train]) > 0.93


def test_import_is_light() -> None:
    assert heavy_imports("mmfeat.encoders.builtin.audio") == "[]"


def test_values_do_not_depend_on_the_cores() -> None:
    code = (
        "import hashlib, numpy as np\n"
        "from mmfeat.encoders import EncoderSpec\n"
        "from tests.mmfeat.samples import audio_bytes\n"
        "encoder = EncoderSpec.parse('audio=builtin:audio').load()\n"
        "data = audio_bytes(np.random.default_rng(0).normal(0, 0.1, 48_000))\n"
        "vector = encoder.encode([encoder.decode(data)])[0]\n"
        "print(hashlib.sha256(vector.tobytes()).hexdigest())\n"
    )
    digests = {run_python(code, OPENBLAS_NUM_THREADS=threads) for threads in ("1", "2")}
    assert len(digests) == 1
