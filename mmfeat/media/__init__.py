"""Bytes in: fetch files, URLs and Parquet cells; decode, check and resize images and audio."""

from mmfeat.media.audio import check_audio, load_audio, open_audio, read_mono
from mmfeat.media.fetch import MediaFetcher
from mmfeat.media.http import HttpSettings
from mmfeat.media.images import (
    MAX_PIXELS,
    ImageFormat,
    ImageResizer,
    JpegHeader,
    ResizeMode,
    check_pixels,
    load_image,
    load_pixels,
    load_plain_image,
    open_image,
    pillow_errors_as_record_errors,
    read_header_size,
    read_plain_jpeg,
)
from mmfeat.media.parquet_media import resolve_parquet_media
from mmfeat.media.read_policy import ReadPolicy, check_protocols

__all__ = [
    "MAX_PIXELS",
    "HttpSettings",
    "ImageFormat",
    "ImageResizer",
    "JpegHeader",
    "MediaFetcher",
    "ReadPolicy",
    "ResizeMode",
    "check_audio",
    "check_pixels",
    "check_protocols",
    "load_audio",
    "load_image",
    "load_pixels",
    "load_plain_image",
    "open_audio",
    "open_image",
    "pillow_errors_as_record_errors",
    "read_header_size",
    "read_mono",
    "read_plain_jpeg",
    "resolve_parquet_media",
]
