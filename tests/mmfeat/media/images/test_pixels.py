"""Common JPEGs are decoded without Pillow's plugin: the same pixels, the same rejects."""

import numpy as np
import pytest
from PIL import Image

from mmfeat.errors import RecordError
from mmfeat.media.images import load_pixels, load_plain_image, pixels
from tests.mmfeat.samples import image_bytes
from tests.ugly_files import ugly_files


def noise(width, height):
    rng = np.random.default_rng(width * height)
    small = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8))
    return small.resize((width, height))


def jpeg(image, **options):
    return image_bytes(image, "JPEG", **options)


def outcome(load, data, draft):
    """Return the pixels, or why there are none."""
    try:
        image = load(data, draft=draft)
    except RecordError as error:
        return error.reason, error.detail
    return image.mode, image.size, image.tobytes()


def assert_same(data, draft=None):
    expected = outcome(load_plain_image, data, draft)
    assert outcome(load_pixels, data, draft) == expected
    return expected


FORMS = {
    "plain": {},
    "fine": {"subsampling": 0, "quality": 97},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "comment": {"comment": "by hand"},
    "optimized": {"optimize": True},
}


@pytest.mark.parametrize("draft", [None, 1, 7, 16, 40, 1000])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_are_those_of_the_plugin(mode, form, draft):
    for width, height in ((64, 48), (131, 67), (1, 1), (9, 200)):
        file = jpeg(noise(width, height).convert(mode), **FORMS[form])
        assert pixels._decode_common_jpeg(file, draft) is not None
        assert assert_same(file, draft)[0] == mode


def exif(orientation):
    tags = Image.Exif()
    tags[0x112] = orientation
    return tags


@pytest.mark.parametrize(
    "file",
    [
        jpeg(noise(64, 48), exif=exif(6)),
        jpeg(noise(64, 48).convert("CMYK")),
        jpeg(noise(64, 48), icc_profile=b"x" * 99),
        jpeg(noise(64, 48), subsampling="4:2:0", keep_rgb=False, dpi=(72, 72)),
        image_bytes(noise(64, 48), "PNG"),
        image_bytes(noise(64, 48), "WEBP"),
        b"",
        b"\xff\xd8\xff",
    ],
    ids=["EXIF", "CMYK", "profile", "dpi", "PNG", "WEBP", "empty", "start"],
)
def test_all_other_files_are_those_of_the_plugin(file):
    assert_same(file)
    assert_same(file, 16)


def test_files_cut_anywhere_have_the_same_reason():
    file = jpeg(noise(40, 30))
    reasons = {assert_same(file[:end])[0] for end in range(0, len(file), 7)}
    assert reasons == {"undecodable"}


def test_damaged_files_have_the_same_pixels_or_reason():
    file = jpeg(noise(40, 30), quality=60)
    rng = np.random.default_rng(5)
    accepted = 0
    for position in [*range(700), *rng.integers(0, len(file), 400)]:
        if position < len(file):
            value = int(rng.integers(0, 256))
            damaged = file[:position] + bytes([value]) + file[position + 1 :]
            accepted += assert_same(damaged, 10)[0] == "RGB"
    assert accepted > 100


def test_a_header_that_claims_too_many_pixels_is_too_large():
    file = bytearray(jpeg(noise(40, 30)))
    frame = file.index(b"\xff\xc0")
    file[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    assert assert_same(bytes(file))[0] == "too_large"


def test_odd_files_have_the_same_outcome(real_data):
    folder = real_data("ugly")
    names = ugly_files(folder, "image")
    assert names
    for name in names:
        data = (folder / name).read_bytes()
        assert_same(data)
        assert_same(data, 100)
