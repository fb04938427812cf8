"""Decode audio with limits. The only place that opens untrusted audio files.

libsndfile reads WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF, AU, CAF and more. Formats it cannot read
(AAC, WMA) are `undecodable`. A few bytes of silence may stand for hours, so checks keep no decoded
samples and decoding is bounded.
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
from mmfeat.records import MODALITIES

MAX_SAMPLES = 2**31
"""Frames times channels. Enough for six hours of stereo at 48 kHz."""
MAX_CHANNELS = 64
MIN_RATE, MAX_RATE = 1000, 768_000
"""Sample rates that can be resampled. A file may declare any rate, and filters grow with it."""
_BLOCK_FRAMES = 64 * 1024
_UNKNOWN_LENGTH = 2**63 - 1
"""libsndfile's length of a stream whose writer did not know its end (FLAC from a pipe)."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Properties of an audio file.

    Attributes:
        frames: number of decoded frames; if not decoded, the number in the header.
        sample_rate: frames per second.
        channels: samples per frame.
        extension: usual file extension of the format.
    """

    frames: int
    sample_rate: int
    channels: int
    extension: str


def check_audio(data: bytes, *, decode: bool) -> AudioInfo:
    """Open an audio file and optionally decode it to its end.

    A file that ends before its declared length is valid if its format allows it (WAV does, FLAC
    does not) and it has frames: recorders that are stopped write such files.

    Args:
        data: content of the file.
        decode: decode all frames. False = read only the header, if it has the number of frames.

    Raises:
        RecordError: `undecodable`, `empty` for no frames, or `too_large`.
    """
    with open_audio(data) as file:
        frames, channels = file.frames, file.channels
        if frames != _UNKNOWN_LENGTH:
            _check_length(frames, channels)
        if frames and (decode or frames == _UNKNOWN_LENGTH):
            frames = _count_frames(file, channels)
        if not frames:
            raise RecordError("empty", "no frames")
        extension = MODALITIES["audio"].extension_of(file.format)
        return AudioInfo(frames, file.samplerate, channels, extension)


def load_audio(data: bytes, rate: int, seconds: float) -> np.ndarray:
    """Decode the start of an audio file to mono, at another sample rate.

    Args:
        data: content of the file.
        rate: sample rate of the result.
        seconds: maximum duration.

    Returns:
        float32, shape (samples,), at most `rate * seconds` samples.

    Raises:
        RecordError: `undecodable`, also for NaN and infinite samples; `empty`; `too_large`.
    """
    with open_audio(data) as file:
        if not MIN_RATE <= file.samplerate <= MAX_RATE:
            raise RecordError(
                "undecodable", f"{file.samplerate} Hz; {MIN_RATE} to {MAX_RATE} Hz are read"
            )
        mono = read_mono(file, math.ceil(seconds * file.samplerate))
        if not len(mono):
            raise RecordError("empty", "no frames")
        if not np.isfinite(mono).all():
            raise RecordError("undecodable", "samples that are no numbers")
        return _resample(mono, file.samplerate, rate)[: int(rate * seconds)]


@contextmanager
def open_audio(data: bytes) -> Iterator[Any]:
    """Open a `soundfile.SoundFile` and turn any error into a `RecordError`.

    The length in the header may be wrong and the file does not seek: read until the end.
    """
    import soundfile

    try:
        if not data:
            raise RecordError("undecodable", "the file is empty")
        with soundfile.SoundFile(_SafeBytesIO(data)) as file:
            if file.channels > MAX_CHANNELS:
                raise RecordError(
                    "too_large", f"{file.channels} channels; at most {MAX_CHANNELS} are read"
                )
            # After each block, soundfile seeks to its own position in a seekable file. At the
            # end of a stream of unknown length that fails.
            file.seekable = lambda: False
            yield file
    except RecordError:
        raise
    except soundfile.LibsndfileError as error:
        # The prefix of the message has a memory address, which differs in each run.
        raise RecordError("undecodable", f"libsndfile: {error.error_string}") from error
    except Exception as error:
        raise RecordError("undecodable", f"{type(error).__name__}: {error}") from error


class _SafeBytesIO(io.BytesIO):
    """Ignores invalid seeks. libsndfile makes them in damaged files, and an exception cannot pass
    through C: Python would print it."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _count_frames(file: Any, channels: int) -> int:
    """Decode to the end and return the number of frames."""
    block = bytearray(_BLOCK_FRAMES * channels * 4)
    frames = 0
    while block_frames := file.buffer_read_into(block, dtype="float32"):
        frames += block_frames
        _check_length(frames, channels)
    return frames


def read_mono(file: Any, max_frames: int, *, repair: bool = False) -> np.ndarray:
    """Read frames from the start and average their channels.

    Args:
        file: an open file of `open_audio`.
        max_frames: maximum number of frames.
        repair: replace NaN and infinite samples by 0, and clip others to ±1e9.

    Returns:
        float32, shape (frames,).
    """
    block = np.empty((_BLOCK_FRAMES, file.channels), np.float32)
    parts: list[np.ndarray] = []
    left = max_frames
    while left and (count := file.buffer_read_into(block[:left], dtype="float32")):
        samples = block[: min(count, left)]
        if repair:
            samples = np.nan_to_num(samples, nan=0, posinf=0, neginf=0).clip(-1e9, 1e9)
        parts.append(samples.mean(axis=1))
        left -= count
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _resample(samples: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    if rate == target_rate:
        return samples
    from scipy.signal import resample_poly

    # 44100 to 48000 Hz is 160/147. The bound makes unusual rates wrong by a few millionths.
    ratio = Fraction(target_rate, rate).limit_denominator(1000)
    return resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32)


def _check_length(frames: int, channels: int) -> None:
    if frames * channels > MAX_SAMPLES:
        raise RecordError(
            "too_large", f"{frames} frames of {channels} channels; at most {MAX_SAMPLES} samples"
        )
