"""Images: decode, check and resize them, and read the size in their headers."""

from mmfeat.media.images.decode import (
    MAX_PIXELS,
    check_pixels,
    load_image,
    load_plain_image,
    open_image,
    pillow_errors_as_record_errors,
)
from mmfeat.media.images.image_size import read_header_size
from mmfeat.media.images.jpeg_header import JpegHeader, read_plain_jpeg
from mmfeat.media.images.pixels import load_pixels
from mmfeat.media.images.resize import ImageFormat, ImageResizer, ResizeMode

__all__ = [
    "MAX_PIXELS",
    "ImageFormat",
    "ImageResizer",
    "JpegHeader",
    "ResizeMode",
    "check_pixels",
    "load_image",
    "load_pixels",
    "load_plain_image",
    "open_image",
    "pillow_errors_as_record_errors",
    "read_header_size",
    "read_plain_jpeg",
]
