"""Sound files checked, within bounds: the one place where untrusted sound files are opened.

libsndfile reads WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF, AU, CAF and more; what it cannot (AAC,
WMA) is `undecodable`. A few bytes of silence may stand for hours: nothing decoded is kept, and
what is decoded is bounded.
"""

import io
from dataclasses import dataclass
from typing import Any

from mmfeat.errors import RecordError

MAX_SAMPLES = 2**31
"""Frames times channels: six hours of stereo at 48 kHz pass."""
MAX_CHANNELS = 64
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
    import soundfile

    try:
        if not data:
            raise RecordError("undecodable", "the file is empty")
        with soundfile.SoundFile(_Bytes(data)) as file:
            frames, channels = file.frames, file.channels
            if channels > MAX_CHANNELS:
                raise RecordError(
                    "too_large", f"{channels} channels; at most {MAX_CHANNELS} are read"
                )
            if frames != _UNKNOWN:
                _check_length(frames, channels)
            if frames and (decode or frames == _UNKNOWN):
                frames = _decoded(file, channels)
            if not frames:
                raise RecordError("empty", "no frames")
            return SoundInfo(frames, file.samplerate, channels, file.format.lower())
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
    # After each block soundfile seeks to where it is already; at the end of a stream of unknown
    # length that fails. It leaves it be in files that cannot seek.
    file.seekable = lambda: False
    block = bytearray(_BLOCK * channels * 4)
    frames = 0
    while read := file.buffer_read_into(block, dtype="float32"):
        frames += read
        _check_length(frames, channels)
    return frames


def _check_length(frames: int, channels: int) -> None:
    if frames * channels > MAX_SAMPLES:
        raise RecordError(
            "too_large", f"{frames} frames of {channels} channels; at most {MAX_SAMPLES} samples"
        )
