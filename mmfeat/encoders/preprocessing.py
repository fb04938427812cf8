"""Decoding that several encoders share: pictures to fixed arrays, tokens to padded tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmfeat.errors import RecordError
from mmfeat.media.images import eight_bits, load_image, pillow_errors_as_record_errors, upright


@dataclass(frozen=True)
class Picture:
    """How a picture becomes a model's input, in the words of torchvision's transforms.

    Attributes:
        size: length of the sides of the square that the model sees.
        resize: length that the shorter side is brought to (`shorter`), or both sides (`squash`);
            `longer` fits the longer side and fills the rest with `fill`.
        mode: see `resize`.
        interpolation: name of Pillow's filter: bicubic, bilinear, lanczos, nearest, box.
        mean: of each channel, of values from 0 to 1.
        std: likewise.
        reduced: whether a JPEG may be decoded at a fraction of its size, still at least `resize`.
        corner: what becomes of half a pixel where the square is cut out of the middle.
        fill: the colour around a picture that does not fill the square; the mean where not given.
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

    def decode(self, data: bytes) -> np.ndarray:
        """uint8, shape (3, size, size): RGB, turned as EXIF says, alpha laid on white.

        Raises:
            RecordError: no picture, or one that is too large.
        """
        image = rgb(upright(load_image(data, draft=self.resize if self.reduced else None)))
        with pillow_errors_as_record_errors():
            return self.pixels(image)

    def pixels(self, image: Image.Image) -> np.ndarray:
        """What `decode` makes of a picture in RGB."""
        return np.ascontiguousarray(np.asarray(self._resized(image)).transpose(2, 0, 1))

    def _resized(self, image: Image.Image) -> Image.Image:
        method = Image.Resampling[self.interpolation.upper()]
        width, height = image.size
        if self.mode == "squash":
            image = image.resize((self.resize, self.resize), method)
        else:
            side = min(image.size) if self.mode == "shorter" else max(image.size)
            if self.mode == "shorter" and max(image.size) > 200 * side:
                raise RecordError("too_large", f"{width}x{height}: too long for its width")
            # As torchvision does: the longer side is cut to an integer; timm rounds the shorter.
            integer = int if self.mode == "shorter" else round
            width, height = (max(1, integer(self.resize * length / side)) for length in image.size)
            if (width, height) != image.size:
                image = image.resize((width, height), method)
        whole = round if self.corner == "rounded" else int
        left, top = (whole((length - self.size) / 2) for length in image.size)
        if self.mode == "longer" and (left < 0 or top < 0):
            colour = self.fill or tuple(round(255 * value) for value in self.mean)
            square = Image.new("RGB", (self.size, self.size), colour)
            x, y = (
                (self.size - length) // 2 if length < self.size else -cut
                for length, cut in zip(image.size, (left, top), strict=True)
            )
            square.paste(image, (x, y))
            return square
        return image.crop((left, top, left + self.size, top + self.size))

    def batch(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """float32, shape [batch, 3, size, size], normalised."""
        pixels = torch.from_numpy(np.stack(arrays)).float().div_(255)
        mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (self.mean, self.std))
        return pixels.sub_(mean).div_(std)


def rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB: alpha laid on white, 16 bits of grey brought to 8."""
    with pillow_errors_as_record_errors():
        image = eight_bits(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return image.convert("RGB")


def text_of(data: bytes) -> str:
    """A member's text.

    Raises:
        RecordError: not UTF-8, or blank.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise RecordError("undecodable", str(error)) from error
    if not text.strip():
        raise RecordError("empty", "the text is blank")
    return text


def padded(items: Sequence[Sequence[int]], value: int = 0) -> tuple[Tensor, Tensor]:
    """Token ids as int64 of shape [batch, longest], and a mask of the same shape, 1 = a token."""
    longest = max(map(len, items))
    ids = np.full((len(items), longest), value, np.int64)
    mask = np.zeros((len(items), longest), np.int64)
    for row, item in enumerate(items):
        ids[row, : len(item)] = item
        mask[row, : len(item)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def mean_pooled(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of a text: shapes [batch, tokens, dim], [batch, tokens] → [batch, dim].

    Summed in float32, whatever the precision of the forward.
    """
    weights = mask.unsqueeze(-1).float()
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def ragged(states: Tensor, mask: Tensor, most: int) -> list[np.ndarray]:
    """The vectors of real tokens, at most so many a record: a list of shape (tokens, dim)."""
    return [row[keep.bool()][:most].numpy() for row, keep in zip(states.float(), mask, strict=True)]
