"""Images and sounds."""

import io
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from mmfeat.media import check_audio, load_audio, load_plain_image, read_header_size
from tests.fuzz.target import Target


def _picture(kind: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((24, 16), 64).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def _sound(kind: str, subtype: str | None = None, channels: int = 1) -> bytes:
    buffer = io.BytesIO()
    wave = np.linspace(-0.5, 0.5, 400 * channels).reshape(-1, channels)
    soundfile.write(buffer, wave, 8000, subtype, format=kind)
    return buffer.getvalue()


def image_size(folder: Path) -> Target:
    """The size in the header of a JPEG or PNG. If there is one, Pillow must find the same."""

    def read(data: bytes) -> None:
        size = read_header_size(data)
        if size and size[0] * size[1] < 1 << 20:
            with Image.open(io.BytesIO(data)) as image:
                assert image.size == size, f"Pillow says {image.size}, the header {size}"

    seeds = [
        _picture("JPEG", comment=b"words"),
        _picture("JPEG", progressive=True),
        _picture("JPEG", "L"),
        _picture("PNG"),
        _picture("PNG", "P"),
        _picture("PNG", dpi=(72, 72)),
    ]
    markers = [bytes([0xFF, marker]) for marker in (0xC0, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD, 0xE0, 0xFE)]
    return Target(read, seeds, [*markers, b"IHDR", b"IDAT", b"sRGB", b"gAMA", b"pHYs", b"JFIF\0"])


def image(folder: Path) -> Target:
    """An image of any format, decoded."""
    kinds = ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "JPEG2000", "QOI"]
    seeds = [_picture(kind) for kind in kinds]
    seeds += [_picture("PNG", "I;16"), _picture("TIFF", "F"), _picture("TIFF", "CMYK")]
    seeds.append(_picture("TIFF", compression="tiff_deflate"))
    tokens = [b"Exif\0\0", b"ICC_PROFILE\0", b"iCCP", b"tRNS", b"acTL", b"II*\0", b"MM\0*", b"RIFF"]
    return Target(load_plain_image, seeds, tokens)


def audio(folder: Path) -> Target:
    """A sound of any format: checked, decoded, resampled."""

    def read(data: bytes) -> None:
        check_audio(data, decode=False)
        check_audio(data, decode=True)
        load_audio(data, 16_000, seconds=10)

    seeds = [
        _sound("WAV"),
        _sound("WAV", "FLOAT", channels=2),
        _sound("FLAC"),
        _sound("OGG"),
        _sound("AIFF"),
        _sound("AU"),
        _sound("CAF"),
        _sound("MP3"),
        _sound("WAV", "IMA_ADPCM"),
    ]
    return Target(
        read, seeds, [b"RIFF", b"WAVE", b"fmt ", b"data", b"fLaC", b"OggS", b"LIST", b"ID3"]
    )
