import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmfeat.media.images.decode import MAX_PIXELS, open_image
from mmfeat.media.images.image_size import read_header_size
from tests.mmfeat.samples import image_bytes


def blank(format: str, mode: str = "RGB", **options: object) -> bytes:
    return image_bytes(Image.new(mode, (7, 5), 3), format, **options)


COMMON = {
    "baseline": blank("JPEG"),
    "progressive": blank("JPEG", progressive=True),
    "grey": blank("JPEG", "L"),
    "commented": blank("JPEG", comment=b"hello"),
    "png": blank("PNG"),
    "png grey": blank("PNG", "L"),
    "png alpha": blank("PNG", "RGBA"),
    "png dpi": blank("PNG", dpi=(72, 72)),
}


@pytest.mark.parametrize("data", COMMON.values(), ids=COMMON)
def test_common_header_has_the_size(data: bytes) -> None:
    assert read_header_size(data) == (7, 5) == open_image(data).size


@pytest.mark.parametrize(
    "data",
    [
        blank("JPEG", "CMYK"),
        blank("JPEG", exif=Image.Exif().tobytes()),
        blank("PNG", "P"),
        blank("GIF", "P"),
        b"",
        b"\xff\xd8\xff",
        COMMON["png"][:40],
        COMMON["baseline"][:300],
    ],
    ids=["cmyk", "exif", "palette", "gif", "nothing", "start alone", "cut png", "cut jpeg"],
)
def test_unusual_header_is_left_to_pillow(data: bytes) -> None:
    assert read_header_size(data) is None


@settings(max_examples=600, deadline=None)
@given(
    name=st.sampled_from(sorted(COMMON)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 700),
)
@example(name="png", changes=[(28, 1)], cut=700)
def test_size_agrees_with_pillow_on_damaged_headers(
    name: str, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(COMMON[name][:cut])
    for position, value in changes:
        if position < len(data):
            data[position] = value
    size = read_header_size(bytes(data))
    if size is not None and size[0] * size[1] < 2**27:
        assert open_image(bytes(data)).size == size


def test_size_agrees_with_pillow_on_real_world_files(real_data) -> None:
    for path in sorted((real_data("ugly") / "images").iterdir()):
        data = path.read_bytes()
        size = read_header_size(data)
        if size is None:
            continue
        if size[0] * size[1] <= MAX_PIXELS:
            assert open_image(data).size == size, path.name
