"""Make a short, small copy of a sound that every browser plays."""

import base64
import io

from mmfeat.media import load_audio

SECONDS = 8.0
"""Seconds of a sound on a page."""

_RATE = 16_000


def make_sound(content: bytes) -> str:
    """Return the beginning of a sound as a `data:` URL: mono, MP3, or WAV without an MP3 encoder.

    The bytes of the record are not passed to the browser.

    Raises:
        RecordError: the sound cannot be decoded.
    """
    import soundfile

    samples = load_audio(content, _RATE, SECONDS)
    kind = "MP3" if "MP3" in soundfile.available_formats() else "WAV"
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, _RATE, format=kind)
    mime = "audio/mpeg" if kind == "MP3" else "audio/wav"
    return f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode()}"
