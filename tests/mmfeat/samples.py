"""Pictures and sounds made up on the spot, as the bytes of files, whole and damaged."""

import io
import random
from collections.abc import Iterator

import numpy as np
import soundfile
from PIL import Image, ImageDraw

NO_SOUNDS = [b"", b"\x00", b"RIFF", b"fLaC", b"OggS", b"no sound" * 99]


def image_bytes(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """A picture as a file's bytes."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def drawing(size: tuple[int, int] = (90, 60), mode: str = "RGB") -> Image.Image:
    """A red disc and a blue bar on white, or on nothing where the mode has alpha."""
    image = Image.new("RGBA", size, (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    draw.ellipse((size[0] // 8, size[1] // 8, size[0] // 2, size[1] // 2), fill=(220, 30, 30, 255))
    draw.rectangle((size[0] // 2, size[1] // 2, size[0] - 5, size[1] - 9), fill=(20, 40, 200, 255))
    if not mode.endswith("A"):
        image = Image.alpha_composite(Image.new("RGBA", size, "white"), image)
    return image.convert(mode)


def photo(width: int, height: int) -> Image.Image:
    """Colours that change slowly all over the picture."""
    rows, columns = np.mgrid[:height, :width] / (height + width)
    pixels = np.stack([np.sin(9 * rows), np.sin(7 * columns), np.sin(5 * rows * columns)], 2)
    return Image.fromarray((127.5 + 127.5 * pixels).astype(np.uint8))


def sound_bytes(
    wave: np.ndarray, rate: int = 16_000, format: str = "WAV", subtype: str | None = None
) -> bytes:
    """A wave, of shape (frames,) or (frames, channels), as a file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=format, subtype=subtype)
    return file.getvalue()


def of_unknown_length(flac: bytes) -> bytes:
    """A FLAC as a stream has it, which does not tell how long it will be."""
    data = bytearray(flac)
    data[8 + 13] &= 0xF0  # the 36 bits of STREAMINFO that tell the number of samples
    data[8 + 14 : 8 + 18] = bytes(4)
    return bytes(data)


def with_a_broken_middle(whole: bytes) -> bytes:
    """The same bytes but for one."""
    data = bytearray(whole)
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def damaged(whole: bytes, count: int) -> Iterator[bytes]:
    """Each time with a few other bytes and another end, in the header rather than elsewhere."""
    chance = random.Random(7)
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.choice([chance.randrange(80), chance.randrange(len(data))])] ^= (
                chance.randrange(1, 256)
            )
        yield bytes(data[: chance.randrange(len(data) + 1)])
