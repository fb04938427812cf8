"""Sound files checked, within bounds: the one place where untrusted sound files are opened.

libsndfile reads WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF, AU, CAF and more; what it cannot (AAC,
WMA) is `undecodable`. A few bytes of silence may stand for hours: nothing decoded is kept, and
what is decoded is bounded.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from mmfeat.errors import RecordError

MAX_SAMPLES = 2**31
"""Frames times channels: six hours of stereo at 48 kHz pass."""
MAX_CHANNELS = 64
MIN_RATE, MAX_RATE = 1000, 768_000
"""Samples in a second of what is resampled: a file may claim any, and filters grow with it."""
_BLOCK = 64 * 1024
_UNKNOWN = 2**63 - 1
"""What libsndfile says of a stream that was written without knowing its end (FLAC from a pipe)."""


@dataclass(frozen=True, slots=True)
class SoundInfo:
    """What is known of a sound.

    Attributes:
        frames: points in time; those that were decoded, if they were, else what the header says.
        sample_rate: frames in a second.
        channels: samples in a frame.
        extension: what a file of that format is called.
    """

    frames: int
    sample_rate: int
    channels: int
    extension: str


def check_sound(data: bytes, *, decode: bool) -> SoundInfo:
    """Opens a sound, and decodes it to its end where asked.

    A file that ends earlier than its header says is fine as long as the format allows it (WAV does,
    FLAC does not) and there is something to hear: cutting is what recorders do when they stop.

    Args:
        data: the file's bytes.
        decode: read all frames; else only the header, as long as it tells how many there are.

    Raises:
        RecordError: `undecodable`, `empty` where there are no frames, or `too_large`.
    """
    with opened(data) as file:
        frames, channels = file.frames, file.channels
        if frames != _UNKNOWN:
            _check_length(frames, channels)
        if frames and (decode or frames == _UNKNOWN):
            frames = _decoded(file, channels)
        if not frames:
            raise RecordError("empty", "no frames")
        return SoundInfo(frames, file.samplerate, channels, file.format.lower())


def read_sound(data: bytes, rate: int, seconds: float) -> np.ndarray:
    """The beginning of a sound, its channels averaged, at another sampling rate.

    Args:
        data: the file's bytes.
        rate: samples in a second, of what is returned.
        seconds: how much is read at most.

    Returns:
        float32, shape (samples,), at most `rate * seconds` of them.

    Raises:
        RecordError: `undecodable`, a sample that is no number too; `empty`; `too_large`.
    """
    with opened(data) as file:
        if not MIN_RATE <= file.samplerate <= MAX_RATE:
            raise RecordError(
                "undecodable", f"{file.samplerate} Hz; {MIN_RATE} to {MAX_RATE} Hz are read"
            )
        mono = _mono(file, math.ceil(seconds * file.samplerate))
        if not len(mono):
            raise RecordError("empty", "no frames")
        if not np.isfinite(mono).all():
            raise RecordError("undecodable", "samples that are no numbers")
        return _resampled(mono, file.samplerate, rate)[: int(rate * seconds)]


@contextmanager
def opened(data: bytes) -> Iterator[Any]:
    """A file of soundfile's; whatever goes wrong with it is a RecordError.

    Its header's length is not to be trusted, and it does not seek: read until nothing comes.
    """
    import soundfile

    try:
        if not data:
            raise RecordError("undecodable", "the file is empty")
        with soundfile.SoundFile(_Bytes(data)) as file:
            if file.channels > MAX_CHANNELS:
                raise RecordError(
                    "too_large", f"{file.channels} channels; at most {MAX_CHANNELS} are read"
                )
            # After each block soundfile seeks to where it is already; at the end of a stream of
            # unknown length that fails. It leaves it be in files that cannot seek.
            file.seekable = lambda: False
            yield file
    except RecordError:
        raise
    except soundfile.LibsndfileError as error:
        # Without its prefix, which holds an address that differs from run to run.
        raise RecordError("undecodable", f"libsndfile: {error.error_string}") from error
    except Exception as error:
        raise RecordError("undecodable", f"{type(error).__name__}: {error}") from error


class _Bytes(io.BytesIO):
    """Bytes in which a seek to nowhere is no error: libsndfile tries it in damaged files, and an
    exception could not pass through C; it would be printed."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _decoded(file: Any, channels: int) -> int:
    """The number of frames that can be read."""
    block = bytearray(_BLOCK * channels * 4)
    frames = 0
    while read := file.buffer_read_into(block, dtype="float32"):
        frames += read
        _check_length(frames, channels)
    return frames


def _mono(file: Any, most: int) -> np.ndarray:
    """At most so many frames from the start, channels averaged: float32."""
    block = np.empty((_BLOCK, file.channels), np.float32)
    parts: list[np.ndarray] = []
    left = most
    while left and (read := file.buffer_read_into(block[:left], dtype="float32")):
        parts.append(block[: min(read, left)].mean(axis=1))
        left -= read
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    # 44100 to 48000 Hz is 160/147; an odd rate is met to within a few millionths.
    ratio = Fraction(wanted, rate).limit_denominator(1000)
    return resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32)


def _check_length(frames: int, channels: int) -> None:
    if frames * channels > MAX_SAMPLES:
        raise RecordError(
            "too_large", f"{frames} frames of {channels} channels; at most {MAX_SAMPLES} samples"
        )
