"""The preprocessing of images, with the values of torchvision's transforms."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.media import load_pixels, pillow_errors_as_record_errors


class Placement(NamedTuple):
    """How an image becomes the square input of a model.

    Attributes:
        width: of the resized image, in pixels.
        height: likewise.
        left: offset of the square in the resized image; negative if the square is wider.
        top: likewise.
        columns: columns of the resized image that the square shows.
        rows: likewise.
    """

    width: int
    height: int
    left: int
    top: int
    columns: int
    rows: int


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
        image = load_pixels(data, draft=self.resize if self.reduced else None)
        with pillow_errors_as_record_errors():
            return self.resize_and_crop(_to_rgb(image))

    def resize_and_crop(self, image: Image.Image) -> np.ndarray:
        """Convert an RGB image to uint8 of shape (3, size, size)."""
        place = self.place(*image.size)
        square = self._crop(self._resize(image, place), place)
        return np.ascontiguousarray(_view_pixels(square).transpose(2, 0, 1))

    def to_tensor(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """Stack and normalize arrays from `decode`: float32, shape [batch, 3, size, size]."""
        return self.normalize(torch.from_numpy(np.stack(arrays)))

    def normalize(self, pixels: Tensor) -> Tensor:
        """Normalize uint8 of shape [batch, 3, size, size] to float32, on its device."""
        mean, std = (_on_device(values, pixels.device) for values in (self.mean, self.std))
        return pixels.float().div_(255).sub_(mean).div_(std)

    @property
    def fill_color(self) -> tuple[int, ...]:
        """RGB colour around an image that does not fill the square."""
        return self.fill or tuple(round(255 * value) for value in self.mean)

    def place(self, width: int, height: int) -> Placement:
        """Return how an image of a size is resized and cropped.

        Raises:
            RecordError: `too_large`, the image is too narrow.
        """
        if self.mode == "squash":
            resized = (self.resize, self.resize)
        else:
            side = min(width, height) if self.mode == "shorter" else max(width, height)
            if self.mode == "shorter" and max(width, height) > 200 * side:
                raise RecordError("too_large", f"{width}x{height}: aspect ratio above 200")
            # torchvision truncates the longer side to an integer; timm rounds the shorter one.
            to_int = int if self.mode == "shorter" else round
            resized = (
                max(1, to_int(self.resize * width / side)),
                max(1, to_int(self.resize * height / side)),
            )
        left, top = map(self._offset, resized)
        columns, rows = (min(length, self.size) for length in resized)
        return Placement(*resized, left, top, columns, rows)

    def _offset(self, length: int) -> int:
        """Return where the square begins in a resized image; negative if it begins before."""
        if self.mode == "longer" and length < self.size:
            return -((self.size - length) // 2)
        return (round if self.corner == "rounded" else int)((length - self.size) / 2)

    def _resize(self, image: Image.Image, place: Placement) -> Image.Image:
        size = (place.width, place.height)
        if size == image.size and self.mode != "squash":
            return image
        return image.resize(size, Image.Resampling[self.interpolation.upper()])

    def _crop(self, image: Image.Image, place: Placement) -> Image.Image:
        """Cut the square out of the middle, or centre a smaller image in it."""
        left, top = place.left, place.top
        if self.mode != "longer" or min(place.columns, place.rows) == self.size:
            return image.crop((left, top, left + self.size, top + self.size))
        square = Image.new("RGB", (self.size, self.size), self.fill_color)
        square.paste(image, (-left, -top))
        return square


@lru_cache(maxsize=64)
def _on_device(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """Return a value per channel, shape (3, 1, 1). Each copy to a GPU would wait for it."""
    return torch.tensor(values, device=device).reshape(3, 1, 1)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert a plain image to RGB; transparent pixels become white."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _view_pixels(image: Image.Image) -> np.ndarray:
    """Return an RGB image as uint8 of shape [height, width, 3], without a copy if possible.

    Pillow stores four bytes per pixel and shows them to Arrow. `np.asarray` copies them in Python.
    """
    try:
        values = pa.array(image).values.to_numpy(zero_copy_only=True)
        return values.reshape(image.height, image.width, 4)[..., :3]
    except (TypeError, ValueError, pa.ArrowException):  # Pillow < 11.2, or a large image in blocks
        return np.asarray(image)


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
