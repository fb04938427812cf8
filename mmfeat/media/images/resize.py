"""Resize and re-encode images. The modes have the meaning they have in img2dataset.

| mode                 | the result                                            | its `side` |
|----------------------|-------------------------------------------------------|------------|
| `no`                 | keeps its size                                        |            |
| `border`             | fits into a square, centered on white                 | longer     |
| `keep_ratio`         | has a shorter side of the given size                  | shorter    |
| `keep_ratio_largest` | has a longer side of the given size                   | longer     |
| `center_crop`        | is the central square of the result of `keep_ratio`   | shorter    |

Two differences to img2dataset lose less: an image that needs no other size or format keeps its
bytes, and alpha is blended with white only if the new format has no alpha. A re-encoded image is
the first frame, with its EXIF orientation applied, in 8-bit grayscale or RGB, without EXIF, color
profiles and comments.
"""

import io
from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image

from mmfeat.errors import MmfeatError, RecordError, check_choice
from mmfeat.media.images import decode
from mmfeat.media.images.decode import load_plain_image, open_image, pillow_errors_as_record_errors

ResizeMode = Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"]
ImageFormat = Literal["", "jpg", "png", "webp"]

MAX_SIZE = 16384

_PILLOW_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
_FORMATS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
"""Format in Pillow → the format a resized image is written in."""
_EXTENSIONS = {"jpg": ("jpg", "jpeg"), "png": ("png",), "webp": ("webp",)}
_MAX_SIDES = {"jpg": 65500, "webp": 16383}
"""Format → its longest side in pixels."""


@dataclass(frozen=True)
class ImageResizer:
    """Resizes and re-encodes images.

    Args:
        size: target size in pixels; 0 for the mode `no`.
        mode: see the table above.
        encode: output format. Empty = a resized jpg, png or webp keeps its format; other images
            become png if they have alpha, else jpg.
        quality: 1 to 100, for jpg and webp. png is lossless.
        only_if_bigger: keep the size of images whose `side` is not larger than the target.
    """

    size: int = 0
    mode: ResizeMode = "no"
    encode: ImageFormat = ""
    quality: int = 95
    only_if_bigger: bool = False

    def __post_init__(self) -> None:
        check_choice("--resize-mode", self.mode, get_args(ResizeMode))
        check_choice("--encode", self.encode, get_args(ImageFormat))
        if self.mode == "no" and self.size:
            raise MmfeatError(
                "--resize needs a --resize-mode",
                got=self.size,
                cure=f"Add --resize-mode with one of {', '.join(get_args(ResizeMode)[1:])}",
            )
        if self.mode != "no" and not self.size:
            raise MmfeatError(
                "--resize-mode needs a size",
                got=self.mode,
                cure="Add --resize with a number of pixels, such as --resize 256",
            )
        if self.mode != "no" and not 1 <= self.size <= MAX_SIZE:
            raise MmfeatError(
                f"--resize must be from 1 to {MAX_SIZE} pixels",
                got=self.size,
                cure="Give another --resize",
            )
        if not 1 <= self.quality <= 100:
            raise MmfeatError(
                "--encode-quality must be from 1 to 100",
                got=self.quality,
                cure="Give another --encode-quality; the default is 95",
            )

    @property
    def active(self) -> bool:
        """Whether any image may change."""
        return self.mode != "no" or self.encode != ""

    def apply(self, data: bytes, extension: str) -> tuple[bytes, str]:
        """Resize and re-encode an image.

        Args:
            data: content of the file.
            extension: its extension in the shard if it stays unchanged.

        Returns:
            The new content, or the same bytes if there is nothing to change, and its extension.

        Raises:
            RecordError: `undecodable`; or `too_large` if the file or the result has more pixels
                than `decode.MAX_PIXELS`, or a side that its format does not support.
        """
        if not self.active:
            return data, extension
        header = open_image(data)
        source_format = _FORMATS.get(header.format or "", "")
        needs_resize = self._needs_resize(*header.size)
        if not needs_resize and self.encode in ("", source_format):
            return data, self.encode or extension
        if needs_resize:
            _check_pixels(*self._scaled_size(*header.size))
            _check_pixels(*self._final_size(*header.size))
        image = load_plain_image(data)
        if needs_resize:
            image = self._resize(image)
        format = self.encode or source_format or ("png" if image.mode == "RGBA" else "jpg")
        if self.encode or extension not in _EXTENSIONS[format]:
            extension = format
        return _encode(image, format, self.quality), extension

    def _needs_resize(self, width: int, height: int) -> bool:
        if self.mode == "no":
            return False
        if self.only_if_bigger and self._side(width, height) <= self.size:
            return False
        return (width, height) != self._scaled_size(width, height) or (
            (width, height) != self._final_size(width, height)
        )

    def _side(self, width: int, height: int) -> int:
        """Return the side that the mode scales to the target size."""
        is_shorter = self.mode in ("keep_ratio", "center_crop")
        return min(width, height) if is_shorter else max(width, height)

    def _scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size before the image is cropped or padded."""
        side = self._side(width, height)
        return (
            max(1, round(width * self.size / side)),
            max(1, round(height * self.size / side)),
        )

    def _final_size(self, width: int, height: int) -> tuple[int, int]:
        if self.mode in ("border", "center_crop"):
            return self.size, self.size
        return self._scaled_size(width, height)

    def _resize(self, image: Image.Image) -> Image.Image:
        scaled, final = self._scaled_size(*image.size), self._final_size(*image.size)
        with pillow_errors_as_record_errors():
            if image.size != scaled:
                shrinks = self._side(*image.size) > self.size
                # BOX averages areas, like img2dataset's INTER_AREA.
                image = image.resize(
                    scaled, Image.Resampling.BOX if shrinks else Image.Resampling.LANCZOS
                )
            if self.mode == "border":
                square = Image.new(image.mode, final, "white")
                square.paste(image, ((final[0] - scaled[0]) // 2, (final[1] - scaled[1]) // 2))
                return square
            left, top = (scaled[0] - final[0]) // 2, (scaled[1] - final[1]) // 2
            return image.crop((left, top, left + final[0], top + final[1]))


def _check_pixels(width: int, height: int) -> None:
    if width * height > decode.MAX_PIXELS:
        raise RecordError(
            "too_large",
            f"{width}x{height} pixels after resizing; at most {decode.MAX_PIXELS} are made",
        )


def _encode(image: Image.Image, format: str, quality: int) -> bytes:
    max_side = _MAX_SIDES.get(format)
    if max_side is not None and max(image.size) > max_side:
        raise RecordError(
            "too_large",
            f"{image.width}x{image.height} pixels; a side of a {format} has at most {max_side}",
        )
    with pillow_errors_as_record_errors():
        if format == "jpg" and image.mode == "RGBA":
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image).convert("RGB")
        image.info = {}  # Pillow would write some of the source's metadata
        file = io.BytesIO()
        options = {} if format == "png" else {"quality": quality}
        image.save(file, _PILLOW_FORMATS[format], **options)
    return file.getvalue()
