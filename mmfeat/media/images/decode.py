"""Decode images with limits. The only place that opens untrusted image files.

A file may not be an image (`undecodable`). It may declare more pixels than fit into memory
(`too_large`). Its format may make Pillow start another program: EPS starts Ghostscript. Such
formats are not in `FORMATS`.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError
from PIL.Image import Transpose

from mmfeat.errors import RecordError
from mmfeat.media.images.pixel_modes import scale_transparent_color, to_plain_mode
from mmfeat.records import MODALITIES

FORMATS = frozenset(MODALITIES["image"].formats)
"""Formats that Pillow decodes itself."""

_COMMON_FORMATS = frozenset({"JPEG", "PNG", "WEBP"})

MAX_PIXELS = 128 * 1024**2
"""Enough for a 100-megapixel camera. As RGBA this is 0.5 GiB of memory."""

_ORIENTATION_TAG = 0x0112
_TRANSPOSES = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""EXIF orientation → how its pixels are turned upright."""


# Pillow warns about large images, invalid EXIF and more, without the name of the file. The row of a
# record says what can be used; `MAX_PIXELS` limits the size. A filter per call would not be safe in
# threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")


# Pillow refuses a PNG whose comments have more than 64 MiB. A compressed comment of more than
# 1 MiB stays refused, as a decompression bomb.
PngImagePlugin.MAX_TEXT_MEMORY = 256 << 20


class _PngStream(PngImagePlugin.PngStream):
    """Skips color profiles. Pillow refuses a PNG whose profile has more than 1 MiB."""

    def chunk_iCCP(self, pos: int, length: int) -> bytes:  # noqa: N802
        return ImageFile._safe_read(self.fp, length) if self.fp else b""


PngImagePlugin.PngStream = _PngStream  # type: ignore[misc]


@contextmanager
def pillow_errors_as_record_errors() -> Iterator[None]:
    """Turn any exception of Pillow into a `RecordError`.

    Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, KeyError,
    ZeroDivisionError, MemoryError and others for a bad file.
    """
    try:
        yield
    except RecordError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # A warning filter may turn the warning into an exception.
        raise RecordError("too_large", str(error)) from error
    except UnidentifiedImageError as error:
        # Its message has a memory address, which differs in each run.
        raise RecordError("undecodable", "no picture in a format that is read") from error
    except Exception as error:
        raise RecordError("undecodable", f"{type(error).__name__}: {error}") from error


def open_image(data: bytes) -> Image.Image:
    """Read the header of an image: its format, size and mode. No pixel is decoded.

    Raises:
        RecordError: `undecodable` or `too_large`.
    """
    with pillow_errors_as_record_errors():
        if not data:
            raise RecordError("undecodable", "the file is empty")
        image = Image.open(io.BytesIO(data), formats=_available_formats())
        width, height = image.size
        # Pillow's own limit is global: any library may switch it off.
        if width * height > MAX_PIXELS:
            raise RecordError(
                "too_large", f"{width}x{height} pixels; at most {MAX_PIXELS} are read"
            )
    return image


@cache
def _available_formats() -> list[str]:
    """Return the `FORMATS` that this build of Pillow supports, common ones first."""
    Image.init()
    available = FORMATS & Image.OPEN.keys()
    return sorted(available, key=lambda name: (name not in _COMMON_FORMATS, name))


def load_image(data: bytes, *, draft: int | None = None) -> Image.Image:
    """Decode the first frame of an image as stored, without its EXIF orientation.

    Args:
        data: content of the file.
        draft: decode a JPEG at a reduced size, with a shorter side of at least this many pixels.
            libjpeg then skips work. None = full size.

    Raises:
        RecordError: `undecodable`, also for an incomplete file, or `too_large`.
    """
    image = open_image(data)
    with pillow_errors_as_record_errors():
        if draft is not None:
            image.draft(None, (draft, draft))
        scale_transparent_color(image)
        image.load()
    return image


def apply_exif_orientation(image: Image.Image) -> Image.Image:
    """Rotate an image as its EXIF orientation says. Without a valid one it stays unchanged.

    Only this tag is read: many cameras and editors write other tags that are invalid.
    `ImageOps.exif_transpose` encodes all tags again and fails for them.
    """
    try:
        transpose = _TRANSPOSES.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # the EXIF has no readable table, or the tag is no number
        return image
    return image if transpose is None else image.transpose(transpose)


def load_plain_image(data: bytes, *, draft: int | None = None) -> Image.Image:
    """Decode the first frame of an image to 8 bits, with its EXIF orientation applied.

    Args:
        data: content of the file.
        draft: see `load_image`.

    Returns:
        An image of the mode L, RGB or RGBA.

    Raises:
        RecordError: `undecodable` or `too_large`.
    """
    image = load_image(data, draft=draft)
    with pillow_errors_as_record_errors():
        return to_plain_mode(apply_exif_orientation(image), image)


def check_pixels(data: bytes) -> Image.Image:
    """Decode an image and check that its pixels can be converted to 8 bits; return it as stored.

    Raises:
        RecordError: `undecodable` or `too_large`.
    """
    image = load_image(data)
    with pillow_errors_as_record_errors():
        to_plain_mode(image, image)
    return image
