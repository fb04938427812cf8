"""Convert images of any pixel mode to 8 bits: grayscale, RGB or RGBA.

Pillow clips pixels of more than 8 bits, so most of such an image becomes black or white. It also
ignores a transparent color of 16 bits. The only place that converts modes of decoded files.

Black is 0. White is what the file declares: 65535 for 16 bits, 4095 for 12. Files of floats and of
32-bit integers declare nothing. Their white is the smallest of 1, 255, 65535 and, for integers, the
largest integer that no pixel exceeds. If no such range fits, the image is `undecodable`: a guess
would make it all black or all white.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mmfeat.errors import RecordError

PLAIN_MODES = ("L", "RGB", "RGBA")

_COMMON_WHITES = (1, 255, 65535)
_FLOAT_MARGIN = 0.25
"""Floats may exceed black and white by this fraction: resampling overshoots."""
_DARKEST = 1 / 16
"""If no pixel of an image is as bright as this fraction of white, its white is another one."""

_BAND_PIXELS = 1 << 20
"""Pixels converted at a time: floats need eight times the memory of the result."""

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
"""Tags of TIFF."""
_WHITE_IS_ZERO = 0
_UNSIGNED, _SIGNED = 1, 2
_FACTORS = {"L;2": 85, "L;4": 17}
"""Pillow's name of the samples in a PNG of few bits → factor to 8 bits."""


class _Levels(NamedTuple):
    """Pixel values of black and white."""

    black: float
    white: float


def to_plain_mode(image: Image.Image, file: Image.Image) -> Image.Image:
    """Convert a decoded image to the mode L, RGB or RGBA.

    Args:
        image: the image, for example rotated.
        file: the image as loaded, which knows the tags of its file.

    Raises:
        RecordError: `undecodable`; the pixel values of black and white are not known.
    """
    if image.mode.startswith(("I", "F")):
        return _deep_to_plain_mode(image, file)
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image if image.mode == "RGB" else image.convert("RGB")


def scale_transparent_color(image: Image.Image) -> None:
    """Scale the transparent color of a PNG like its pixels.

    Pillow scales pixels of 2, 4 and 16 bits per sample to 8 and leaves the color as it is.

    Args:
        image: an opened image whose pixels are not loaded yet.
    """
    color = image.info.get("transparency")
    tiles = getattr(image, "tile", ()) if image.format == "PNG" else ()
    samples = tiles[0].args if tiles else ""
    if samples in _FACTORS and isinstance(color, int):
        image.info["transparency"] = color * _FACTORS[samples]
    elif samples == "RGB;16B" and isinstance(color, tuple):
        image.info["transparency"] = tuple(sample >> 8 for sample in color)


def _deep_to_plain_mode(image: Image.Image, file: Image.Image) -> Image.Image:
    """Convert an image of 16-bit or 32-bit integers or of floats."""
    tags: Mapping[int, Any] = getattr(file, "tag_v2", {})
    values = np.asarray(image)
    if values.dtype == np.int32 and _first(tags.get(_SAMPLE_FORMAT)) == _UNSIGNED:
        values = values.view(np.uint32)
    levels = _find_levels(values, file, tags)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        levels = _Levels(levels.white, levels.black)
    gray = Image.fromarray(_to_eight_bits(values, levels))
    color = image.info.get("transparency")
    if not isinstance(color, int):
        return gray
    alpha = Image.fromarray(np.where(values == color, 0, 255).astype(np.uint8))
    return Image.merge("RGBA", (gray, gray, gray, alpha))


def _find_levels(values: np.ndarray, file: Image.Image, tags: Mapping[int, Any]) -> _Levels:
    bits, sample_format = _first(tags.get(_BITS)), _first(tags.get(_SAMPLE_FORMAT))
    if file.mode.startswith("I;16"):
        return _Levels(0, 2**bits - 1 if bits and bits < 16 else 65535)
    if file.mode == "I" and file.format == "PPM":
        return _Levels(0, 65535)  # Pillow scales it from the maximum that the file declares
    is_float = file.mode == "F"
    finite = values[np.isfinite(values)] if is_float else values
    if not finite.size:
        raise RecordError("undecodable", "no pixel is a finite number")
    lowest, highest = float(finite.min()), float(finite.max())
    margin = _FLOAT_MARGIN if is_float else 0
    whites: tuple[int, ...] = _COMMON_WHITES
    if bits == 16 and sample_format == _SIGNED:
        whites = (32767,)
    elif not is_float:
        whites = (*_COMMON_WHITES, np.iinfo(values.dtype).max)
    white = next((white for white in whites if highest <= white * (1 + margin)), None)
    is_known = white is not None and lowest >= -white * margin
    if white is None or not is_known or (white != whites[0] and highest < white * _DARKEST):
        known = ", ".join(map(str, whites))
        raise RecordError(
            "undecodable",
            f"pixels from {lowest:g} to {highest:g}; black is 0 and white must be one of {known}",
        )
    return _Levels(0, white)


def _to_eight_bits(values: np.ndarray, levels: _Levels) -> np.ndarray:
    """Map black to 0 and white to 255. A pixel that is no number becomes black."""
    black, white = levels
    gray = np.empty(values.shape, np.uint8)
    rows = max(1, _BAND_PIXELS // max(1, values.shape[1]))
    for start in range(0, len(values), rows):
        band = values[start : start + rows].astype(np.float64)
        band = np.nan_to_num(band, nan=black, posinf=max(levels), neginf=min(levels))
        scaled = (band - black) * (255 / (white - black)) + 0.5
        gray[start : start + rows] = np.clip(scaled, 0, 255)
    return gray


def _first(value: Any) -> Any:
    """Return the first value of a tag that has one value per channel."""
    return value[0] if isinstance(value, tuple) and value else value
