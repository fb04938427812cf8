"""Decoding on a GPU, checked on the CPU: TorchCodec has both, and the rest is torch."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mmfeat.encoders.neural.gpu_decoding import GpuDecoder, can_decode_on_gpu
from mmfeat.encoders.neural.preprocessing import ImageTransform
from mmfeat.media import read_plain_jpeg

pytest.importorskip("torchcodec")

CPU = torch.device("cpu")


def picture(width=64, height=48):
    rows, columns = np.mgrid[:height, :width]
    red = 127 + 120 * np.sin(columns / 9)
    green = 127 + 120 * np.sin(rows / 7)
    blue = 255 * (columns + rows) / (height + width)
    return Image.fromarray(np.stack([red, green, blue], axis=2).astype(np.uint8))


def jpeg(image=None, **options):
    buffer = io.BytesIO()
    (image or picture()).save(buffer, "JPEG", **{"quality": 95, "subsampling": 0, **options})
    return buffer.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x112] = orientation
    return tags


def transform(**options):
    return ImageTransform(**{"size": 32, "resize": 32, "reduced": False, **options})


def decode(plan, files):
    decoder = GpuDecoder(plan, CPU)
    return decoder.decode([decoder.accept(file) for file in files])


def differences(options, files):
    plan = transform(**options)
    expected = np.stack([plan.decode(file) for file in files]).astype(int)
    actual = decode(plan, files).numpy().astype(int)
    assert actual.shape == expected.shape
    return np.abs(actual - expected)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize("mode", ["shorter", "squash", "longer"])
@pytest.mark.parametrize("size", [(64, 48), (48, 64), (300, 41), (20, 17), (32, 32), (33, 500)])
def test_pixels_are_those_of_pillow(interpolation, mode, size):
    options = {"interpolation": interpolation, "mode": mode, "resize": 36}
    difference = differences(options, [jpeg(picture(*size))])
    assert difference.max() <= 1
    assert difference.mean() < 0.1


@pytest.mark.parametrize("corner", ["rounded", "truncated"])
@pytest.mark.parametrize("size", [(33, 50), (51, 33), (35, 34)])
def test_crop_is_the_one_of_pillow(corner, size):
    difference = differences({"resize": 33, "corner": corner}, [jpeg(picture(*size))])
    assert difference.max() <= 1


def test_images_of_several_sizes_keep_their_order():
    sizes = [(64, 48), (40, 40), (64, 48), (48, 64), (40, 40)]
    files = [jpeg(picture(*size)) for size in sizes]
    assert differences({}, files).max() <= 1


def test_few_pixels_are_decoded_at_a_time(monkeypatch):
    monkeypatch.setattr("mmfeat.encoders.neural.gpu_decoding._CHUNK_PIXELS", 64 * 48 * 2)
    files = [jpeg(picture(64, 48 + i)) for i in range(5)]
    assert differences({}, files).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation):
    file = jpeg(exif=exif(orientation))
    header = read_plain_jpeg(file)
    assert header is not None
    assert header.orientation == orientation
    assert differences({}, [file]).max() <= 1


@pytest.mark.parametrize(
    "file",
    [
        jpeg(),
        jpeg(progressive=True),
        jpeg(picture().convert("L")),
        jpeg() + b"\0" * 8,
        jpeg(comment=b"x" * 3000),
        jpeg(icc_profile=b"x" * 990, exif=exif(6)),
    ],
    ids=["plain", "progressive", "gray", "padding after the end", "long header", "profile"],
)
def test_plain_files_are_accepted(file):
    assert GpuDecoder(transform(), CPU).accept(file)
    assert differences({}, [file]).max() <= 1


def without_end(file):
    return file[: len(file) // 2]


def with_adobe(file):
    return file[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + file[2:]


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "file",
    [
        jpeg(picture().convert("CMYK")),
        with_adobe(jpeg()),
        without_end(jpeg()),
        jpeg(exif=exif(9)),
        png(picture()),
        jpeg(picture(3000, 10)),
        b"\xff\xd8" + bytes(100) + b"\xff\xd9",
        b"\xff\xd8\xff\xd9",
        b"",
    ],
    ids=["CMYK", "Adobe", "truncated", "orientation 9", "PNG", "narrow", "zeros", "short", "empty"],
)
def test_other_files_are_for_the_cpu(file):
    assert not GpuDecoder(transform(), CPU).accept(file)
    assert not GpuDecoder(transform(), CPU).accept(memoryview(file))


def test_headers_of_damaged_files_are_read_without_an_error():
    file = jpeg(exif=exif(6))
    for position in range(700):
        for value in (0, 0xFF, file[position] ^ 1):
            damaged = file[:position] + bytes([value]) + file[position + 1 :]
            for data in (damaged, damaged[: position + 2] + b"\xff\xd9"):
                header = read_plain_jpeg(data)
                assert header is None or (header.width and header.height)


def test_transforms_that_leave_a_border_or_have_other_filters_are_for_the_cpu():
    assert can_decode_on_gpu(transform())
    assert not can_decode_on_gpu(transform(resize=30))
    assert not can_decode_on_gpu(transform(interpolation="nearest"))
