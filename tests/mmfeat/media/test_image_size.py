"""The quick look at a header must never say more than Pillow would."""

import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmfeat.media.image_size import plain_size
from mmfeat.media.images import MAX_PIXELS, open_image


def encoded(
    kind: str, mode: str = "RGB", size: tuple[int, int] = (7, 5), **options: object
) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 3).save(buffer, kind, **options)
    return buffer.getvalue()


PLAIN = {
    "baseline": encoded("JPEG"),
    "progressive": encoded("JPEG", progressive=True),
    "grey": encoded("JPEG", "L"),
    "commented": encoded("JPEG", comment=b"hello"),
    "png": encoded("PNG"),
    "png grey": encoded("PNG", "L"),
    "png alpha": encoded("PNG", "RGBA"),
    "png dpi": encoded("PNG", dpi=(72, 72)),
}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_a_plain_picture_is_told_at_once(data: bytes) -> None:
    assert plain_size(data) == (7, 5) == open_image(data).size


@pytest.mark.parametrize(
    "data",
    [
        encoded("JPEG", "CMYK"),
        encoded("JPEG", exif=Image.Exif().tobytes()),
        encoded("PNG", "P"),
        encoded("GIF", "P"),
        b"",
        b"\xff\xd8\xff",
        PLAIN["png"][:40],
        PLAIN["baseline"][:300],
    ],
    ids=["cmyk", "exif", "palette", "gif", "nothing", "start alone", "cut png", "cut jpeg"],
)
def test_others_are_left_to_pillow(data: bytes) -> None:
    assert plain_size(data) is None


@settings(max_examples=600, deadline=None)
@given(
    name=st.sampled_from(sorted(PLAIN)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 700),
)
@example(name="png", changes=[(28, 1)], cut=700)
def test_an_answer_means_that_pillow_opens_it_and_finds_the_same(
    name: str, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(PLAIN[name][:cut])
    for place, value in changes:
        if place < len(data):
            data[place] = value
    size = plain_size(bytes(data))
    if size is not None and size[0] * size[1] < 2**27:
        assert open_image(bytes(data)).size == size


def test_the_odd_pictures_of_others_are_never_told_wrongly(real_data) -> None:
    for path in sorted((real_data("ugly") / "images").iterdir()):
        data = path.read_bytes()
        size = plain_size(data)
        if size is None:
            continue
        if size[0] * size[1] <= MAX_PIXELS:
            assert open_image(data).size == size, path.name
