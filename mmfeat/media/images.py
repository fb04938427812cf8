"""Bytes to Pillow pictures, within bounds: the one place where untrusted picture files are opened.

Three things can go wrong with a stranger's file and each is met here: it may not be a picture
(`undecodable`), it may claim more pixels than memory holds (`too_large`), and its format may make
Pillow start another program (EPS hands the file to Ghostscript; such formats are not in `FORMATS`).
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from PIL import Image, ImageOps, UnidentifiedImageError

from mmfeat.errors import RecordError

# fmt: off
FORMATS = frozenset([
    "AVIF", "BMP", "CUR", "DCX", "DDS", "DIB", "FLI", "GIF", "ICNS", "ICO", "IM",
    "JPEG", "JPEG2000", "MPO", "MSP", "PCX", "PIXAR", "PNG", "PPM", "PSD", "QOI", "SGI", "SUN",
    "TGA", "TIFF", "WEBP", "XBM", "XPM",
])
# fmt: on
"""Formats that Pillow reads by itself. Left out: EPS (starts Ghostscript), WMF (drawn by Windows),
those known by name only, with no reader of their own (BUFR, GRIB, HDF5), and textures of games
(BLP, FTEX: 284 hostile bytes can cost a second and a half)."""

_FREQUENT = frozenset({"JPEG", "PNG", "WEBP"})

MAX_PIXELS = 128 * 1024**2
"""A 100-megapixel camera passes; decoded to RGBA it is 0.5 GiB, which a worker can hold."""


@contextmanager
def pillow_errors_as_record_errors() -> Iterator[None]:
    """Pillow's plugins raise whatever their parsing meets: OSError, SyntaxError, ValueError,
    struct.error, KeyError, ZeroDivisionError, MemoryError, …; all of them mean the same to us."""
    try:
        yield
    except RecordError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # The warning arrives as an exception where warnings are made errors.
        raise RecordError("too_large", str(error)) from error
    except UnidentifiedImageError as error:
        # Its message holds an address that differs from run to run.
        raise RecordError("undecodable", "no picture in a format that is read") from error
    except Exception as error:
        raise RecordError("undecodable", f"{type(error).__name__}: {error}") from error


def open_image(data: bytes) -> Image.Image:
    """A picture's header: format, size and mode are known, no pixel is decoded.

    Raises:
        RecordError: `undecodable` or `too_large`.
    """
    with pillow_errors_as_record_errors():
        if not data:
            raise RecordError("undecodable", "the file is empty")
        image = Image.open(io.BytesIO(data), formats=_readable())
        width, height = image.size
        # Pillow's own bound is a process-wide setting that a library may switch off; ours is not.
        if width * height > MAX_PIXELS:
            raise RecordError(
                "too_large", f"{width}x{height} pixels; at most {MAX_PIXELS} are read"
            )
    return image


@cache
def _readable() -> list[str]:
    """Those of `FORMATS` that this build of Pillow reads; the frequent ones are tried first."""
    Image.init()  # so that a build without, say, AVIF still knows which formats it lacks
    return sorted(FORMATS & Image.OPEN.keys(), key=lambda name: (name not in _FREQUENT, name))


def load_image(data: bytes, *, draft: int | None = None) -> Image.Image:
    """The first frame of a picture, fully decoded, as it is stored: `upright` turns it.

    Args:
        data: the file's bytes.
        draft: where given, a JPEG may come smaller, its shorter side still at least this long;
            libjpeg skips the work for the pixels that would be thrown away.

    Raises:
        RecordError: `undecodable` (a truncated file too) or `too_large`.
    """
    image = open_image(data)
    with pillow_errors_as_record_errors():
        if draft is not None:
            image.draft(None, (draft, draft))
        image.load()
    return image


def upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; as it is, where EXIF cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except (
        Exception
    ):  # EXIF is written by cameras and editors, often wrongly; pixels are still good
        return image


def eight_bits(image: Image.Image) -> Image.Image:
    """16 bits of grey brought to 8; other pictures as they are.

    Pillow's own conversion takes all above 255 for white.
    """
    if not image.mode.startswith("I"):
        return image
    return image.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L")
