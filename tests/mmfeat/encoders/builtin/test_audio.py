"""`builtin:audio` hears what people hear, and stays in bounds whatever the bytes."""

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
from tests.mmfeat import refusals
from tests.mmfeat.encoders.checks import assert_usable, cosine, heavy_imports_of
from tests.mmfeat.samples import (
    NO_SOUNDS,
    damaged,
    of_unknown_length,
    sound_bytes,
    with_a_broken_middle,
)


def sweep(start: float, end: float, rate: int = 16_000, seconds: float = 0.6) -> np.ndarray:
    """A tone that glides between two pitches, and fades in and out."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (start * time + (end - start) / (2 * seconds) * time**2)
    return 0.5 * np.sin(phase) * np.sin(np.pi * time / seconds)


def feature(data: bytes) -> np.ndarray:
    encoder = LogMelStatistics()
    return encoder.encode([encoder.decode(data)])[0]


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return cosine(one - one.mean(), other - other.mean())


def usable_feature(data: bytes) -> np.ndarray:
    vector = feature(data)
    assert_usable(vector, LogMelStatistics().dim)
    return vector


def reason(data: bytes) -> str:
    return refusals.reason(LogMelStatistics().decode, data)


RISE, FALL = sweep(300, 2500), sweep(2500, 300)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_the_same_sound_at_another_rate_stays_alike(rate: int) -> None:
    vector = feature(sound_bytes(sweep(300, 2500, rate), rate, subtype="FLOAT"))
    assert likeness(vector, feature(sound_bytes(RISE, subtype="FLOAT"))) > 0.97


@pytest.mark.parametrize("format", ["FLAC", "OGG", "MP3", "AIFF", "AU", "CAF"])
def test_the_same_sound_in_another_format_stays_alike(format: str) -> None:
    vector = usable_feature(sound_bytes(RISE, format=format))
    rise, fall = (feature(sound_bytes(wave)) for wave in (RISE, FALL))
    assert likeness(vector, rise) > 0.9
    assert likeness(vector, rise) > likeness(vector, fall)


def test_loudness_does_not_matter() -> None:
    loud = feature(sound_bytes(RISE, subtype="FLOAT"))
    for gain in (1e-4, 0.1, 100):
        quiet = feature(sound_bytes(gain * RISE, subtype="FLOAT"))
        np.testing.assert_allclose(quiet, loud, atol=1e-3)


def test_channels_are_mixed() -> None:
    mono = feature(sound_bytes(RISE))
    np.testing.assert_allclose(feature(sound_bytes(np.stack([RISE, RISE], 1))), mono, atol=1e-6)
    both = feature(sound_bytes(np.stack([RISE, FALL], 1)))
    np.testing.assert_allclose(both, feature(sound_bytes((RISE + FALL) / 2)), atol=0.02)


def test_a_constant_offset_is_not_heard() -> None:
    shifted = feature(sound_bytes(RISE + 0.3, subtype="FLOAT"))
    np.testing.assert_allclose(shifted, feature(sound_bytes(RISE, subtype="FLOAT")), atol=1e-3)


def test_silence_around_a_sound_is_trimmed() -> None:
    silence = np.zeros(8_000)
    padded = feature(sound_bytes(np.concatenate([silence, RISE, silence])))
    assert likeness(padded, feature(sound_bytes(RISE))) > 0.97


def test_high_differs_from_low_and_rising_from_falling() -> None:
    low, high = feature(sound_bytes(sweep(300, 300))), feature(sound_bytes(sweep(2500, 2500)))
    assert likeness(low, high) < 0.6
    assert likeness(feature(sound_bytes(RISE)), feature(sound_bytes(FALL))) < 0.6


def test_long_differs_from_short() -> None:
    short, long = (feature(sound_bytes(sweep(300, 2500, seconds=time))) for time in (0.5, 5))
    assert long[-1] > short[-1] > 0


@pytest.mark.parametrize("frames", [1, 2, 10, 399, 400, 401, 5_000])
@pytest.mark.parametrize("level", [0.0, 0.5, 1e-8])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_sounds_without_content_give_finite_vectors(frames: int, level: float, rate: int) -> None:
    usable_feature(sound_bytes(np.full(frames, level), rate, subtype="FLOAT"))


@pytest.mark.parametrize("frames", range(1, 2_000, 97))
def test_sounds_of_a_few_windows_give_finite_vectors(frames: int) -> None:
    vector = usable_feature(sound_bytes(np.random.default_rng(frames).normal(0, 0.1, frames)))
    assert vector.any()


@pytest.mark.parametrize("rate", [1, 50, 4_000, 192_000, 2_000_000_000])
def test_a_rate_nobody_uses_is_read_within_bounds(rate: int) -> None:
    data = bytearray(sound_bytes(RISE))
    data[24:28] = struct.pack("<I", rate)
    usable_feature(bytes(data))


def test_floats_that_are_no_number_do_not_spread() -> None:
    wave = RISE.astype(np.float32)
    wave[4000:4003] = np.nan, np.inf, -np.inf
    vector = usable_feature(sound_bytes(wave, subtype="FLOAT"))
    assert likeness(vector, feature(sound_bytes(RISE))) > 0.7
    usable_feature(sound_bytes(RISE * 1e300, subtype="DOUBLE"))


def test_a_feature_does_not_depend_on_its_batch_or_thread() -> None:
    encoder = LogMelStatistics()
    files = [sound_bytes(wave) for wave in (RISE, FALL, RISE[:1], np.zeros(900), sweep(90, 80))]
    with ThreadPoolExecutor(4) as threads:
        batch = list(threads.map(encoder.decode, files))
    together = encoder.encode(batch)
    np.testing.assert_array_equal(encoder.encode(batch[::-1])[::-1], together)
    np.testing.assert_array_equal([feature(data) for data in files], together)
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_a_long_sound_is_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin_audio, "MAX_SECONDS", 9)
    noise = np.random.default_rng(1).normal(0, 0.1, 160_000)
    np.testing.assert_array_equal(
        feature(sound_bytes(noise)), feature(sound_bytes(noise[:144_000]))
    )
    assert LogMelStatistics().decode(sound_bytes(noise)).shape == (899, BANDS)


def test_a_stream_that_does_not_tell_its_length_is_read_to_its_end() -> None:
    data = sound_bytes(RISE, format="FLAC")
    np.testing.assert_array_equal(feature(of_unknown_length(data)), feature(data))


def test_a_wav_cut_off_is_what_is_there() -> None:
    data = sound_bytes(RISE)
    np.testing.assert_array_equal(feature(data[:10_044]), feature(sound_bytes(RISE[:5_000])))


@pytest.mark.parametrize("data", NO_SOUNDS)
def test_bytes_that_are_no_sound_are_undecodable(data: bytes) -> None:
    assert reason(data) == "undecodable"


def test_a_damaged_flac_is_undecodable() -> None:
    assert reason(with_a_broken_middle(sound_bytes(RISE, format="FLAC"))) == "undecodable"


@pytest.mark.parametrize("format", ["WAV", "OGG", "AIFF"])
def test_no_frames_are_empty(format: str) -> None:
    assert reason(sound_bytes(np.zeros(0), format=format)) == "empty"
    assert reason(sound_bytes(RISE)[:44]) == "empty"


def test_more_channels_than_allowed_are_too_large() -> None:
    assert reason(sound_bytes(np.zeros((10, 65)))) == "too_large"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "AIFF"])
def test_damaged_bytes_give_features_or_record_errors_and_print_nothing(
    format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = sound_bytes(RISE[:3000], format=format)
    outcomes = {refusals.outcome(usable_feature, data) for data in damaged(whole, 60)}
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
    assert heavy_imports_of("mmfeat.encoders.builtin.audio") == "[]"
