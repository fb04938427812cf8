import re
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from mmfeat.encoders.builtin.image import ImageDescriptor
from mmfeat.encoders.neural.preprocessing import ImageTransform
from mmfeat.errors import RecordError
from mmfeat.inspection import make_thumbnail
from mmfeat.media.images.decode import check_pixels, load_plain_image
from mmfeat.media.images.resize import ImageResizer
from tests.mmfeat.samples import image_bytes

RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
"""From black to almost white."""


def tiff(pixels: np.ndarray) -> bytes:
    """Return a TIFF of one channel, which has the tag of the sample format."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[339] = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    return image_bytes(Image.fromarray(pixels), "TIFF", tiffinfo=info)


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """Return a little-endian TIFF with another value of a tag."""
    entry = re.search(struct.pack("<H", tag) + b"[\x03\x04]\0\x01\0\0\0", data, re.DOTALL)
    assert entry
    return data[: entry.end()] + struct.pack("<I", value) + data[entry.end() + 4 :]


def png(bits: int, color_type: int, rows: Sequence[bytes], transparent: bytes) -> bytes:
    """Return a PNG with a transparent color."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    channels = 3 if color_type == 2 else 1
    width = len(rows[0]) * 8 // bits // channels
    header = struct.pack(">IIBBBBB", width, len(rows), bits, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = {b"IHDR": header, b"tRNS": transparent, b"IDAT": pixels, b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*item) for item in chunks.items())


def pgm(maximum: int) -> bytes:
    header = b"P5 %d %d %d\n" % (*RAMP.T.shape, maximum)
    return header + (RAMP.astype(np.float64) * maximum / 255).astype(">u2").tobytes()


def twelve_bits() -> bytes:
    """Return a TIFF of 12 bits per pixel, two pixels in three bytes."""
    pairs = (RAMP.astype(int) * 4095 // 255).reshape(-1, 2)
    first, second = pairs.T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1)
    pixels = packed.astype(np.uint8)
    data = image_bytes(Image.fromarray(pixels.reshape(64, -1)), "TIFF")
    return with_tag(with_tag(data, 258, 12), 256, 64)


RAMPS = {
    "floats to 1": tiff(RAMP.astype(np.float32) / 255),
    "floats to 255": tiff(RAMP.astype(np.float32)),
    "floats to 65535": tiff(RAMP.astype(np.float32) * 257),
    "floats beyond black and white": tiff(RAMP.astype(np.float32) / 255 * 1.02 - 0.01),
    "32 bits to 1": tiff((RAMP > 127).astype(np.int32)),
    "32 bits to 255": tiff(RAMP.astype(np.int32)),
    "32 bits to 65535": tiff(RAMP.astype(np.int32) * 257),
    "32 bits, all": tiff((RAMP.astype(np.float64) / 255 * (2**31 - 1)).astype(np.int32)),
    "unsigned 32 bits, all": with_tag(
        tiff((RAMP.astype(np.float64) / 255 * (2**32 - 1)).astype(np.uint32).view(np.int32)), 339, 1
    ),
    "16 bits": tiff(RAMP.astype(np.uint16) * 257),
    "16 bits, big endian": image_bytes(
        Image.frombytes("I;16B", RAMP.T.shape, (RAMP.astype(">u2") * 257).tobytes()), "TIFF"
    ),
    "16 bits, signed": with_tag(tiff(RAMP.astype(np.uint16) * 128), 339, 2),
    "16 bits, white is 0": with_tag(tiff((255 - RAMP).astype(np.uint16) * 257), 262, 0),
    "floats, white is 0": with_tag(tiff((255 - RAMP).astype(np.float32)), 262, 0),
    "16 bits in PNG": image_bytes(Image.fromarray(RAMP.astype(np.uint16) * 257)),
    "12 bits": twelve_bits(),
    "PGM to 1000": pgm(1000),
    "PGM to 65535": pgm(65535),
    "floats in PFM": b"Pf\n64 64\n-1.0\n" + (RAMP / 255).astype("<f4")[::-1].tobytes(),
    "16 bits, wavelets": image_bytes(Image.fromarray(RAMP.astype(np.uint16) * 257), "JPEG2000"),
}


@pytest.mark.parametrize("name", RAMPS)
def test_every_user_of_pixels_sees_the_same_ramp(name: str) -> None:
    """The encoders, the resizer and the report agree with the ramp of 8 bits."""
    data = RAMPS[name]
    expected = RAMP if name != "32 bits to 1" else np.where(RAMP > 127, 255, 0)
    image = load_plain_image(data)
    assert image.mode == "L"
    assert np.abs(np.asarray(image, int) - expected).max() <= 4
    eight_bits = image_bytes(Image.fromarray(expected.astype(np.uint8)))
    for see in (
        lambda data: ImageTransform(size=64, resize=64).decode(data),
        lambda data: ImageDescriptor().decode(data)[0],
        lambda data: load_plain_image(ImageResizer(encode="png").apply(data, "tif")[0]),
        lambda data: load_plain_image(ImageResizer(32, "keep_ratio").apply(data, "tif")[0]),
        lambda data: len(make_thumbnail(data)) // 40,
    ):
        difference = np.asarray(see(data), float) - np.asarray(see(eight_bits), float)
        assert np.abs(difference).max() <= 6


@pytest.mark.parametrize(
    "pixels",
    [
        RAMP.astype(np.float32) / 25,
        RAMP.astype(np.float32) * 1e6,
        RAMP.astype(np.float32) / 127 - 1,
        np.full((9, 9), np.nan, np.float32),
        RAMP.astype(np.int32) - 9,
        RAMP.astype(np.int32) * 4,
        RAMP.astype(np.int32) * 1000,
    ],
    ids=["to 10", "to 2.5e8", "-1 to 1", "no number", "negative", "to 1000", "to 255000"],
)
def test_unknown_range_is_undecodable_instead_of_black(pixels: np.ndarray) -> None:
    for read in (load_plain_image, check_pixels, ImageDescriptor().decode):
        with pytest.raises(RecordError) as caught:
            read(tiff(pixels))
        assert caught.value.reason == "undecodable"
        assert "pixel" in caught.value.detail


def test_dark_floats_stay_dark_and_black_stays_black() -> None:
    assert np.asarray(load_plain_image(tiff(RAMP.astype(np.float32) / 2550))).max() == 25
    assert not np.asarray(load_plain_image(tiff(RAMP.astype(np.float32) * 0))).any()
    assert not np.asarray(load_plain_image(tiff(RAMP.astype(np.int32) * 0))).any()


def test_pixels_that_are_no_numbers_do_not_change_the_others() -> None:
    pixels = RAMP.astype(np.float32)
    pixels[0], pixels[1], pixels[2] = np.nan, np.inf, -np.inf
    result = np.asarray(load_plain_image(tiff(pixels)))
    assert [set(row) for row in result[:3]] == [{0}, {255}, {0}]
    np.testing.assert_array_equal(result[3:], RAMP[3:])


@pytest.mark.parametrize(
    ("bits", "color_type", "row", "transparent"),
    [
        (1, 0, b"\xf0", b"\0\1"),
        (2, 0, b"\xaa\x00", b"\0\2"),
        (4, 0, b"\xaa\xaa\x00\x00", b"\0\x0a"),
        (8, 0, b"\x0a" * 4 + b"\x0b" * 4, b"\0\x0a"),
        (16, 0, b"\x12\x34" * 4 + b"\x12\x35" * 4, b"\x12\x34"),
        (8, 2, b"\x0a" * 12 + b"\x0b" * 12, b"\0\x0a" * 3),
        (16, 2, b"\x12\x34" * 12 + b"\x13\x34" * 12, b"\x12\x34" * 3),
    ],
)
def test_transparent_color_of_any_depth_becomes_alpha(
    bits: int, color_type: int, row: bytes, transparent: bytes
) -> None:
    data = png(bits, color_type, [row] * 8, transparent)
    image = load_plain_image(data)
    assert image.mode == "RGBA"
    alpha = np.asarray(image)[..., 3]
    assert alpha.tolist() == [[0] * 4 + [255] * 4] * 8
    white = ImageTransform(size=8, resize=8).decode(data)[:, :, 0]
    assert (white == 255).all()
    resized = load_plain_image(ImageResizer(encode="png").apply(data, "png")[0])
    np.testing.assert_array_equal(np.asarray(resized), np.asarray(image))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB"])
def test_images_of_eight_bits_keep_their_colors(mode: str) -> None:
    gray = Image.new("RGB", (4, 4), (255, 255, 255))
    if mode == "LAB":
        data = image_bytes(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF")
    else:
        data = image_bytes(gray.convert(mode), "TIFF")
    image = load_plain_image(data)
    assert image.mode in ("L", "RGB", "RGBA")
    assert np.asarray(image.convert("RGB")).min() >= 254


def test_orientation_applies_to_deep_images() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = image_bytes(Image.fromarray(RAMP[:32].astype(np.float32)), "TIFF", exif=exif)
    image = load_plain_image(data)
    assert image.size == (32, 64)
    np.testing.assert_array_equal(np.asarray(image)[:, 0], RAMP[0])
