"""The preprocessing of images, with the values of torchvision's transforms."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.media import load_plain_image, pillow_errors_as_record_errors


@dataclass(frozen=True)
class ImageTransform:
    """Decodes, resizes, crops and normalizes images.

    The attributes are part of the encoder's identity.

    Attributes:
        size: side of the square input of the model, in pixels.
        resize: target length of the shorter side (`shorter`), of both sides (`squash`), or of the
            longer side (`longer`, which fills the rest with `fill`).
        mode: see `resize`.
        interpolation: a filter of Pillow: bicubic, bilinear, lanczos, nearest, or box.
        mean: mean per channel, for values from 0 to 1.
        std: standard deviation per channel, likewise.
        reduced: decode a JPEG at a fraction of its size if that is still at least `resize`.
        corner: how half a pixel is handled in the centre crop.
        fill: RGB colour around the image for `longer`. None = `mean`.
    """

    size: int
    resize: int
    mode: Literal["shorter", "squash", "longer"] = "shorter"
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    reduced: bool = True
    corner: Literal["rounded", "truncated"] = "rounded"
    fill: tuple[int, int, int] | None = None

    def facts(self) -> dict[str, Any]:
        """Return the attributes, JSON-ready."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an image file: EXIF orientation applied, transparent pixels on white.

        Returns:
            RGB, uint8, shape (3, size, size).

        Raises:
            RecordError: `undecodable` or `too_large`.
        """
        image = load_plain_image(data, draft=self.resize if self.reduced else None)
        with pillow_errors_as_record_errors():
            return self.resize_and_crop(_to_rgb(image))

    def resize_and_crop(self, image: Image.Image) -> np.ndarray:
        """Convert an RGB image to uint8 of shape (3, size, size)."""
        square = self._crop(self._resize(image))
        return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))

    def to_tensor(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """Stack and normalize arrays from `decode`: float32, shape [batch, 3, size, size]."""
        pixels = torch.from_numpy(np.stack(arrays)).float().div_(255)
        mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (self.mean, self.std))
        return pixels.sub_(mean).div_(std)

    def _resize(self, image: Image.Image) -> Image.Image:
        method = Image.Resampling[self.interpolation.upper()]
        width, height = image.size
        if self.mode == "squash":
            return image.resize((self.resize, self.resize), method)
        side = min(image.size) if self.mode == "shorter" else max(image.size)
        if self.mode == "shorter" and max(image.size) > 200 * side:
            raise RecordError("too_large", f"{width}x{height}: aspect ratio above 200")
        # torchvision truncates the longer side to an integer; timm rounds the shorter one.
        to_int = int if self.mode == "shorter" else round
        width, height = (max(1, to_int(self.resize * length / side)) for length in image.size)
        if (width, height) == image.size:
            return image
        return image.resize((width, height), method)

    def _crop(self, image: Image.Image) -> Image.Image:
        """Cut the square out of the middle, or centre a smaller image in it."""
        to_int = round if self.corner == "rounded" else int
        left, top = (to_int((length - self.size) / 2) for length in image.size)
        if self.mode != "longer" or (left >= 0 and top >= 0):
            return image.crop((left, top, left + self.size, top + self.size))
        colour = self.fill or tuple(round(255 * value) for value in self.mean)
        square = Image.new("RGB", (self.size, self.size), colour)
        x, y = (
            (self.size - length) // 2 if length < self.size else -offset
            for length, offset in zip(image.size, (left, top), strict=True)
        )
        square.paste(image, (x, y))
        return square


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert a plain image to RGB; transparent pixels become white."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def square_side(title: str, height: int, width: int) -> int:
    """Return the side of a model's square input.

    Raises:
        MmfeatError: the input is not square.
    """
    if height != width:
        raise MmfeatError(f"{title} must read square images", got=f"{width}x{height}")
    return height


def check_filter(title: str, name: str) -> str:
    """Return the name of a resampling filter if Pillow has it.

    Raises:
        MmfeatError: Pillow has no such filter.
    """
    if name.upper() not in Image.Resampling.__members__:
        raise MmfeatError(f"{title} must resize with a filter of Pillow", got=name)
    return name


def per_channel(values: Sequence[float] | float) -> tuple[float, float, float]:
    """Return one value for each of three channels."""
    if isinstance(values, int | float):
        return (float(values),) * 3
    red, green, blue = values
    return float(red), float(green), float(blue)
