import struct
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mmfeat.errors import RecordError
from mmfeat.media import audio
from mmfeat.media.audio import AudioInfo, check_audio, load_audio
from tests.mmfeat import errors
from tests.mmfeat.samples import (
    NOT_AUDIO,
    audio_bytes,
    corrupted_copies,
    flip_middle_byte,
    without_length,
)
from tests.ugly_files import ugly_files


def tone_bytes(
    format: str = "WAV", frames: int = 20_000, channels: int = 1, subtype: str | None = None
) -> bytes:
    wave = np.sin(np.arange(frames * channels) / 20).reshape(frames, channels).astype("float32")
    return audio_bytes(wave, 8000, format, subtype)


def wav_with_header(frames: int, channels: int, body: bytes = b"") -> bytes:
    size = frames * channels * 2
    return (
        struct.pack("<4sI4s4sI", b"RIFF", min(size + 36, 2**32 - 1), b"WAVE", b"fmt ", 16)
        + struct.pack("<HHIIHH", 1, channels, 8000, 16000 * channels, 2 * channels, 16)
        + struct.pack("<4sI", b"data", min(size, 2**32 - 1))
        + body
    )


def flac_of_unknown_length(frames: int = 20_000) -> bytes:
    return without_length(tone_bytes("FLAC", frames))


def reason(data: bytes, *, decode: bool = True) -> str:
    return errors.record_error_reason(partial(check_audio, decode=decode), data)


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "AIFF", "AU", "CAF", "W64"])
@pytest.mark.parametrize("channels", [1, 2])
def test_header_has_length_rate_and_channels(format: str, channels: int, decode: bool) -> None:
    assert check_audio(tone_bytes(format, channels=channels), decode=decode) == AudioInfo(
        frames=20_000, sample_rate=8000, channels=channels, extension=format.lower()
    )


def test_all_blocks_are_decoded() -> None:
    assert check_audio(tone_bytes(frames=150_000), decode=True).frames == 150_000


def test_mp3_is_read() -> None:
    assert check_audio(tone_bytes("MP3"), decode=True).sample_rate == 8000


@pytest.mark.parametrize("data", NOT_AUDIO)
def test_other_bytes_are_undecodable(data: bytes) -> None:
    assert reason(data, decode=False) == "undecodable"


def test_error_detail_is_deterministic() -> None:
    with pytest.raises(RecordError) as caught:
        check_audio(b"no sound" * 99, decode=False)
    assert caught.value.detail == "libsndfile: Format not recognised."


def test_truncated_wav_has_the_remaining_frames() -> None:
    assert check_audio(tone_bytes()[:20_044], decode=True).frames == 10_000
    assert check_audio(wav_with_header(2**20, 1, bytes(20)), decode=True).frames == 10


def test_truncated_flac_fails_only_when_decoded() -> None:
    cut = tone_bytes("FLAC")[:5000]
    assert check_audio(cut, decode=False).frames == 20_000
    assert reason(cut) == "undecodable"


def test_damaged_flac_is_undecodable() -> None:
    assert reason(flip_middle_byte(tone_bytes("FLAC"))) == "undecodable"


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("format", ["WAV", "OGG", "AIFF"])
def test_audio_without_frames_is_empty(format: str, decode: bool) -> None:
    assert reason(tone_bytes(format, frames=0), decode=decode) == "empty"


def test_header_without_frames_is_empty() -> None:
    assert reason(wav_with_header(1000, 2)) == "empty"


@pytest.mark.parametrize("decode", [False, True])
def test_stream_of_unknown_length_is_counted(decode: bool) -> None:
    data = flac_of_unknown_length()
    assert check_audio(data, decode=decode).frames == 20_000


def test_too_many_samples_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_SAMPLES", 40_000)
    assert check_audio(tone_bytes(channels=2), decode=True).frames == 20_000
    monkeypatch.setattr(audio, "MAX_SAMPLES", 39_999)
    assert reason(tone_bytes(channels=2), decode=False) == "too_large"
    assert reason(flac_of_unknown_length(40_000), decode=False) == "too_large"


def test_too_many_channels_are_refused() -> None:
    body = bytes(2 * 65 * 10)
    assert check_audio(wav_with_header(10, 64, body), decode=True).channels == 64
    assert reason(wav_with_header(10, 65, body), decode=False) == "too_large"


def test_check_keeps_no_decoded_samples() -> None:
    silence = audio_bytes(np.zeros(4_000_000, "int16"), 8000, "FLAC")
    tracemalloc.start()
    try:
        assert check_audio(silence, decode=True).frames == 4_000_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "AIFF", "CAF"])
def test_damaged_audio_raises_record_errors_and_prints_nothing(
    format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    check = partial(check_audio, decode=True)
    outcomes = {
        errors.outcome(check, data) for data in corrupted_copies(tone_bytes(format, 3000), 100)
    }
    assert "undecodable" in outcomes
    assert outcomes <= {"fine", "undecodable", "empty", "too_large"}
    assert capfd.readouterr() == ("", "")


def test_real_world_files_match_their_manifest(
    real_data: Callable[[str], Path],
) -> None:
    folder = real_data("ugly")
    rows = ugly_files(folder, "audio").values()
    assert len(rows) > 5
    mismatches = []
    for row in rows:
        try:
            info = check_audio((folder / row["file_name"]).read_bytes(), decode=True)
            observed = f"soundfile: ok ({info.frames}, {info.channels}) {info.sample_rate}Hz"
        except RecordError:
            observed = "soundfile: LibsndfileError"
        if observed not in row["observed_detail"]:
            mismatches.append((row["file_name"], row["observed_detail"], observed))
    assert mismatches == []


def test_spoken_digits_are_valid(real_data: Callable[[str], Path]) -> None:
    files = sorted((real_data("spoken_digits") / "wav").glob("*.wav"))[:50]
    assert len(files) == 50
    for file in files:
        data = file.read_bytes()
        info = check_audio(data, decode=True)
        assert info == check_audio(data, decode=False)
        assert (info.sample_rate, info.channels) == (8000, 1)


def test_load_reads_mono_from_the_start() -> None:
    wave = np.random.default_rng(3).uniform(-0.5, 0.5, (200_000, 2)).astype("float32")
    data = audio_bytes(wave, 8000, subtype="FLOAT")
    samples = load_audio(data, 8000, 60)
    np.testing.assert_allclose(samples, wave.mean(axis=1), atol=1e-7)
    np.testing.assert_array_equal(load_audio(data, 8000, 10), samples[:80_000])
    assert load_audio(flac_of_unknown_length(), 8000, 60).shape == (20_000,)
    assert load_audio(flac_of_unknown_length(), 8000, 1).shape == (8000,)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 44_101, 48_000, 192_000])
def test_tone_survives_resampling(rate: int) -> None:
    data = audio_bytes(np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate), rate)
    samples = load_audio(data, 16_000, 1.5)
    assert samples.dtype == np.float32
    assert len(samples) == 24_000
    expected = np.sin(2 * np.pi * 440 * np.arange(24_000) / 16_000)
    assert np.abs(samples - expected)[500:-500].max() < 0.02


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "undecodable"),
        (b"no sound", "undecodable"),
        (audio_bytes(np.zeros(0), 8000), "empty"),
        (audio_bytes(np.array([0.1, np.nan]), 8000, subtype="FLOAT"), "undecodable"),
        (audio_bytes(np.zeros(9), 2**30), "undecodable"),
        (audio_bytes(np.zeros(9), 1), "undecodable"),
        (audio_bytes(np.zeros((9, 65)), 8000), "too_large"),
    ],
)
def test_unreadable_audio_is_refused(data: bytes, expected: str) -> None:
    assert (
        errors.record_error_reason(partial(load_audio, rate=16_000, seconds=30), data) == expected
    )
