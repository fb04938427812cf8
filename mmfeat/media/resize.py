"""Pictures resized and encoded anew, with the meanings that img2dataset gave the words.

| mode                 | the picture becomes                                   | bigger: its |
|----------------------|-------------------------------------------------------|-------------|
| `no`                 | as large as it is                                     |             |
| `border`             | fitted into the square, in the middle, the rest white | longer side |
| `keep_ratio`         | its shorter side as long as asked                     | shorter     |
| `keep_ratio_largest` | its longer side as long as asked                      | longer      |
| `center_crop`        | as with `keep_ratio`, then the square in the middle   | shorter     |

Two things differ from img2dataset, and both lose less: a picture that needs neither another size
nor another format keeps its very bytes, and alpha is laid on white only where the new format has
none. What is encoded anew is the first frame, turned as EXIF says, in 8 bits of grey or RGB;
EXIF, colour profiles and comments are left behind.
"""

import io
from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.media import images
from mmfeat.media.images import (
    eight_bits,
    load_image,
    open_image,
    pillow_errors_as_record_errors,
    upright,
)

ResizeMode = Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"]
PictureFormat = Literal["", "jpg", "png", "webp"]

MAX_SIZE = 16384

_PILLOW_NAMES = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
_FAMILIES = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
_EXTENSIONS = {"jpg": ("jpg", "jpeg"), "png": ("png",), "webp": ("webp",)}
_MAX_SIDES = {"jpg": 65500, "webp": 16383}
"""Longest side that a format can hold, or that its library writes."""


@dataclass(frozen=True)
class Reencoding:
    """What is done to pictures before they go into a shard.

    Args:
        size: length in pixels that the mode speaks of; 0 without a mode.
        mode: see the table above.
        encode: format to write; where empty, a picture that is resized stays in its family: jpg,
            png or webp. Others become png where they have alpha, else jpg.
        quality: 1 to 100, of jpg and webp; png is always without loss, its compression the usual.
        only_if_bigger: leave the size of pictures that are no bigger than asked.
    """

    size: int = 0
    mode: ResizeMode = "no"
    encode: PictureFormat = ""
    quality: int = 95
    only_if_bigger: bool = False

    def __post_init__(self) -> None:
        _check_choice("--resize-mode", self.mode, get_args(ResizeMode))
        _check_choice("--encode", self.encode, get_args(PictureFormat))
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
                cure="Give another --encode-quality; 95 is the usual",
            )

    @property
    def active(self) -> bool:
        """Whether any picture may change."""
        return self.mode != "no" or self.encode != ""

    def apply(self, data: bytes, extension: str) -> tuple[bytes, str]:
        """A picture as it goes into the shard.

        Args:
            data: the file's bytes.
            extension: the member extension it would have as it is.

        Returns:
            The new bytes, or the very same where there is nothing to do, and their extension.

        Raises:
            RecordError: `undecodable`, or `too_large` where the file or what is to be made of it
                has more pixels than `images.MAX_PIXELS`, or a side its format cannot hold.
        """
        if not self.active:
            return data, extension
        header = open_image(data)
        source = _FAMILIES.get(header.format or "", "")
        resize = self._resizes(*header.size)
        if not resize and self.encode in ("", source):
            return data, self.encode or extension
        if resize:
            _check_pixels(*self._scaled(*header.size))
            _check_pixels(*self._final(*header.size))
        image = _plain(upright(load_image(data)))
        if resize:
            image = self._resized(image)
        format = self.encode or source or ("png" if image.mode == "RGBA" else "jpg")
        if self.encode or extension not in _EXTENSIONS[format]:
            extension = format
        return _encoded(image, format, self.quality), extension

    def _resizes(self, width: int, height: int) -> bool:
        if self.mode == "no":
            return False
        if self.only_if_bigger and self._deciding_side(width, height) <= self.size:
            return False
        return (width, height) != self._scaled(width, height) or (
            (width, height) != self._final(width, height)
        )

    def _deciding_side(self, width: int, height: int) -> int:
        shorter = self.mode in ("keep_ratio", "center_crop")
        return min(width, height) if shorter else max(width, height)

    def _scaled(self, width: int, height: int) -> tuple[int, int]:
        """The sides before anything is cut off or added."""
        side = self._deciding_side(width, height)
        return (
            max(1, round(width * self.size / side)),
            max(1, round(height * self.size / side)),
        )

    def _final(self, width: int, height: int) -> tuple[int, int]:
        if self.mode in ("border", "center_crop"):
            return self.size, self.size
        return self._scaled(width, height)

    def _resized(self, image: Image.Image) -> Image.Image:
        scaled, final = self._scaled(*image.size), self._final(*image.size)
        with pillow_errors_as_record_errors():
            if image.size != scaled:
                smaller = self._deciding_side(*image.size) > self.size
                # BOX is the mean over the area, img2dataset's INTER_AREA.
                image = image.resize(
                    scaled, Image.Resampling.BOX if smaller else Image.Resampling.LANCZOS
                )
            if self.mode == "border":
                square = Image.new(image.mode, final, "white")
                square.paste(image, ((final[0] - scaled[0]) // 2, (final[1] - scaled[1]) // 2))
                return square
            left, top = (scaled[0] - final[0]) // 2, (scaled[1] - final[1]) // 2
            return image.crop((left, top, left + final[0], top + final[1]))


def _check_choice(flag: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        names = ", ".join(choice or "nothing" for choice in choices)
        raise MmfeatError(f"{flag} must be one of {names}", got=value, cure=f"Give another {flag}")


def _check_pixels(width: int, height: int) -> None:
    if width * height > images.MAX_PIXELS:
        raise RecordError(
            "too_large",
            f"{width}x{height} pixels after resizing; at most {images.MAX_PIXELS} are made",
        )


def _plain(image: Image.Image) -> Image.Image:
    """The picture in one of L, RGB and RGBA."""
    with pillow_errors_as_record_errors():
        image = eight_bits(image)
        if image.has_transparency_data:
            return image.convert("RGBA")
        return image.convert("L" if image.mode in ("1", "L", "F") else "RGB")


def _encoded(image: Image.Image, format: str, quality: int) -> bytes:
    longest = _MAX_SIDES.get(format)
    if longest is not None and max(image.size) > longest:
        raise RecordError(
            "too_large",
            f"{image.width}x{image.height} pixels; a side of a {format} has at most {longest}",
        )
    with pillow_errors_as_record_errors():
        if format == "jpg" and image.mode == "RGBA":
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image).convert("RGB")
        image.info = {}  # else Pillow writes some of the source's metadata, and some not
        file = io.BytesIO()
        options = {} if format == "png" else {"quality": quality}
        image.save(file, _PILLOW_NAMES[format], **options)
    return file.getvalue()
