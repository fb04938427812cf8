"""Generated image and audio files, intact and corrupted."""

import io
import random
from collections.abc import Iterator

import numpy as np
import soundfile
from PIL import Image, ImageDraw

NOT_AUDIO = [b"", b"\x00", b"RIFF", b"fLaC", b"OggS", b"no sound" * 99]


def image_bytes(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """Return the content of an image file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def drawing(size: tuple[int, int] = (90, 60), mode: str = "RGB") -> Image.Image:
    """Draw a red disc and a blue bar, on transparent ground if the mode has alpha, else white."""
    image = Image.new("RGBA", size, (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    draw.ellipse((size[0] // 8, size[1] // 8, size[0] // 2, size[1] // 2), fill=(220, 30, 30, 255))
    draw.rectangle((size[0] // 2, size[1] // 2, size[0] - 5, size[1] - 9), fill=(20, 40, 200, 255))
    if not mode.endswith("A"):
        image = Image.alpha_composite(Image.new("RGBA", size, "white"), image)
    return image.convert(mode)


def photo(width: int, height: int) -> Image.Image:
    """Return an image with smooth colour gradients."""
    rows, columns = np.mgrid[:height, :width] / (height + width)
    pixels = np.stack([np.sin(9 * rows), np.sin(7 * columns), np.sin(5 * rows * columns)], 2)
    return Image.fromarray((127.5 + 127.5 * pixels).astype(np.uint8))


def audio_bytes(
    wave: np.ndarray, rate: int = 16_000, format: str = "WAV", subtype: str | None = None
) -> bytes:
    """Return the content of an audio file of a wave: shape (frames,) or (frames, channels)."""
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=format, subtype=subtype)
    return file.getvalue()


def without_length(flac: bytes) -> bytes:
    """Return a FLAC file without its length, as a stream is written."""
    data = bytearray(flac)
    data[8 + 13] &= 0xF0  # the number of samples in STREAMINFO, 36 bits
    data[8 + 14 : 8 + 18] = bytes(4)
    return bytes(data)


def flip_middle_byte(content: bytes) -> bytes:
    """Return the data with its middle byte inverted."""
    data = bytearray(content)
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def corrupted_copies(content: bytes, count: int) -> Iterator[bytes]:
    """Yield copies, each truncated and with a few changed bytes, many of them in the header."""
    generator = random.Random(7)
    for _ in range(count):
        data = bytearray(content)
        for _ in range(generator.randrange(1, 6)):
            data[generator.choice([generator.randrange(80), generator.randrange(len(data))])] ^= (
                generator.randrange(1, 256)
            )
        yield bytes(data[: generator.randrange(len(data) + 1)])
