import csv
import io
import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression

from mmfeat.encoders import builtin_audio
from mmfeat.encoders.builtin_audio import BANDS, LogMelStatistics
from mmfeat.errors import RecordError


def encoded(
    wave: np.ndarray, rate: int = 16_000, format: str = "WAV", subtype: str | None = None
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=format, subtype=subtype)
    return file.getvalue()


def sweep(start: float, end: float, rate: int = 16_000, seconds: float = 0.6) -> np.ndarray:
    """A tone that glides between two pitches, and fades in and out."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (start * time + (end - start) / (2 * seconds) * time**2)
    return 0.5 * np.sin(phase) * np.sin(np.pi * time / seconds)


def feature(data: bytes) -> np.ndarray:
    encoder = LogMelStatistics()
    return encoder.encode([encoder.decode(data)])[0]


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def assert_usable(vector: np.ndarray) -> None:
    assert vector.shape == (LogMelStatistics().dim,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector.astype(np.float16)).all()
    assert np.abs(vector).max() <= 1


def reason(data: bytes) -> str:
    with pytest.raises(RecordError) as caught:
        LogMelStatistics().decode(data)
    assert caught.value.detail
    return caught.value.reason


RISE, FALL = sweep(300, 2500), sweep(2500, 300)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_the_same_sound_at_another_rate_stays_alike(rate: int) -> None:
    vector = feature(encoded(sweep(300, 2500, rate), rate, subtype="FLOAT"))
    assert likeness(vector, feature(encoded(RISE, subtype="FLOAT"))) > 0.97


@pytest.mark.parametrize("format", ["FLAC", "OGG", "MP3", "AIFF", "AU", "CAF"])
def test_the_same_sound_in_another_format_stays_alike(format: str) -> None:
    vector = feature(encoded(RISE, format=format))
    assert_usable(vector)
    assert likeness(vector, feature(encoded(RISE))) > 0.9
    assert likeness(vector, feature(encoded(RISE))) > likeness(vector, feature(encoded(FALL)))


def test_loudness_does_not_matter() -> None:
    loud = feature(encoded(RISE, subtype="FLOAT"))
    for gain in (1e-4, 0.1, 100):
        quiet = feature(encoded(gain * RISE, subtype="FLOAT"))
        np.testing.assert_allclose(quiet, loud, atol=1e-3)


def test_channels_are_mixed() -> None:
    mono = feature(encoded(RISE))
    np.testing.assert_allclose(feature(encoded(np.stack([RISE, RISE], 1))), mono, atol=1e-6)
    both = feature(encoded(np.stack([RISE, FALL], 1)))
    np.testing.assert_allclose(both, feature(encoded((RISE + FALL) / 2)), atol=0.02)


def test_a_constant_offset_is_not_heard() -> None:
    shifted = feature(encoded(RISE + 0.3, subtype="FLOAT"))
    np.testing.assert_allclose(shifted, feature(encoded(RISE, subtype="FLOAT")), atol=1e-3)


def test_silence_around_a_sound_is_trimmed() -> None:
    silence = np.zeros(8_000)
    padded = feature(encoded(np.concatenate([silence, RISE, silence])))
    assert likeness(padded, feature(encoded(RISE))) > 0.97


def test_high_differs_from_low_and_rising_from_falling() -> None:
    low, high = feature(encoded(sweep(300, 300))), feature(encoded(sweep(2500, 2500)))
    assert likeness(low, high) < 0.6
    assert likeness(feature(encoded(RISE)), feature(encoded(FALL))) < 0.6


def test_long_differs_from_short() -> None:
    short, long = (feature(encoded(sweep(300, 2500, seconds=time))) for time in (0.5, 5))
    assert long[-1] > short[-1] > 0


@pytest.mark.parametrize("frames", [1, 2, 10, 399, 400, 401, 5_000])
@pytest.mark.parametrize("level", [0.0, 0.5, 1e-8])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_sounds_without_content_give_finite_vectors(frames: int, level: float, rate: int) -> None:
    assert_usable(feature(encoded(np.full(frames, level), rate, subtype="FLOAT")))


@pytest.mark.parametrize("frames", range(1, 2_000, 97))
def test_sounds_of_a_few_windows_give_finite_vectors(frames: int) -> None:
    vector = feature(encoded(np.random.default_rng(frames).normal(0, 0.1, frames)))
    assert_usable(vector)
    assert vector.any()


@pytest.mark.parametrize("rate", [1, 50, 4_000, 192_000, 2_000_000_000])
def test_a_rate_nobody_uses_is_read_within_bounds(rate: int) -> None:
    data = bytearray(encoded(RISE))
    data[24:28] = struct.pack("<I", rate)
    assert_usable(feature(bytes(data)))


def test_floats_that_are_no_number_do_not_spread() -> None:
    wave = RISE.astype(np.float32)
    wave[4000:4003] = np.nan, np.inf, -np.inf
    vector = feature(encoded(wave, subtype="FLOAT"))
    assert_usable(vector)
    assert likeness(vector, feature(encoded(RISE))) > 0.7
    assert_usable(feature(encoded(RISE * 1e300, subtype="DOUBLE")))


def test_a_feature_does_not_depend_on_its_batch_or_thread() -> None:
    encoder = LogMelStatistics()
    files = [encoded(wave) for wave in (RISE, FALL, RISE[:1], np.zeros(900), sweep(90, 80))]
    with ThreadPoolExecutor(4) as threads:
        batch = list(threads.map(encoder.decode, files))
    together = encoder.encode(batch)
    np.testing.assert_array_equal(encoder.encode(batch[::-1])[::-1], together)
    np.testing.assert_array_equal([feature(data) for data in files], together)
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_a_long_sound_is_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin_audio, "MAX_SECONDS", 9)
    noise = np.random.default_rng(1).normal(0, 0.1, 160_000)
    np.testing.assert_array_equal(feature(encoded(noise)), feature(encoded(noise[:144_000])))
    assert LogMelStatistics().decode(encoded(noise)).shape == (899, BANDS)


def test_a_stream_that_does_not_tell_its_length_is_read_to_its_end() -> None:
    data = bytearray(encoded(RISE, format="FLAC"))
    told = feature(bytes(data))
    data[8 + 13] &= 0xF0  # the 36 bits of STREAMINFO that tell the number of samples
    data[8 + 14 : 8 + 18] = bytes(4)
    np.testing.assert_array_equal(feature(bytes(data)), told)


def test_a_wav_cut_off_is_what_is_there() -> None:
    data = encoded(RISE)
    np.testing.assert_array_equal(feature(data[:10_044]), feature(encoded(RISE[:5_000])))


@pytest.mark.parametrize("data", [b"", b"\x00", b"RIFF", b"fLaC", b"OggS", b"no sound" * 99])
def test_bytes_that_are_no_sound_are_undecodable(data: bytes) -> None:
    assert reason(data) == "undecodable"


def test_a_damaged_flac_is_undecodable() -> None:
    data = bytearray(encoded(RISE, format="FLAC"))
    data[len(data) // 2] ^= 0xFF
    assert reason(bytes(data)) == "undecodable"


@pytest.mark.parametrize("format", ["WAV", "OGG", "AIFF"])
def test_no_frames_are_empty(format: str) -> None:
    assert reason(encoded(np.zeros(0), format=format)) == "empty"
    assert reason(encoded(RISE)[:44]) == "empty"


def test_more_channels_than_allowed_are_too_large() -> None:
    assert reason(encoded(np.zeros((10, 65)))) == "too_large"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "AIFF"])
def test_damaged_bytes_give_features_or_record_errors_and_print_nothing(
    format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, chance = encoded(RISE[:3000], format=format), random.Random(7)
    outcomes = set()
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.choice([chance.randrange(80), chance.randrange(len(data))])] ^= (
                chance.randrange(1, 256)
            )
        try:
            assert_usable(feature(bytes(data[: chance.randrange(len(data) + 1)])))
            outcomes.add("fine")
        except RecordError as error:
            outcomes.add(error.reason)
    assert "undecodable" in outcomes
    assert outcomes <= {"fine", "undecodable", "empty", "too_large"}
    assert capfd.readouterr() == ("", "")


def test_the_identity_is_json_and_names_what_values_depend_on() -> None:
    identity = LogMelStatistics().identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity == LogMelStatistics().identity()
    assert identity["name"] == "builtin:audio"
    assert {"version", "bands", "window", "hop", "libsndfile"} <= identity.keys()


def test_spoken_digits_are_told_apart(real_data: Callable[[str], Path]) -> None:
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
    known = np.array([row["split"] == "train" for row in rows])
    model = LogisticRegression(C=30, max_iter=100).fit(features[known], digits[known])
    assert known.sum() == 500
    assert model.score(features[~known], digits[~known]) > 0.93


def test_importing_it_needs_neither_torch_nor_scipy() -> None:
    root = Path(builtin_audio.__file__).resolve().parents[2]
    code = (
        "import sys, mmfeat.encoders.builtin_audio as _\n"
        "print(sorted({'torch', 'scipy', 'sklearn', 'apache_beam'} & sys.modules.keys()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
