import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from mmfeat.errors import RecordError
from mmfeat.media.images import decode
from mmfeat.media.images.decode import apply_exif_orientation, load_image, open_image
from tests.mmfeat.samples import image_bytes
from tests.ugly_files import ugly_files


def noise(size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.effect_noise(size, 80).convert("RGB")


def png_with_comments(*sizes: int, zip: bool = False) -> bytes:
    comments = PngInfo()
    for place, size in enumerate(sizes):
        comments.add_text(f"comment {place}", "x" * size, zip=zip)
    return image_bytes(noise(), pnginfo=comments)


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


def test_open_reads_only_the_header() -> None:
    cut = image_bytes(noise())[:200]
    assert open_image(cut).size == (60, 40)
    with pytest.raises(RecordError, match="undecodable"):
        load_image(cut)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "TGA"])
def test_truncated_file_is_undecodable(format: str) -> None:
    data = image_bytes(noise(), format)
    assert load_image(data).size == (60, 40)
    with pytest.raises(RecordError) as caught:
        load_image(data[: len(data) // 2])
    assert caught.value.reason == "undecodable"


@pytest.mark.parametrize("data", [b"", b"\x00", b"GIF89a", b"<svg/>", b"\xff\xd8\xff", b"x" * 999])
def test_other_bytes_are_undecodable(data: bytes) -> None:
    with pytest.raises(RecordError) as caught:
        open_image(data)
    assert caught.value.reason == "undecodable"
    assert caught.value.detail


def test_a_png_may_have_large_comments_and_profiles() -> None:
    assert load_image(png_with_comments(2 << 20)).size == (60, 40)
    assert load_image(png_with_comments(1 << 20, zip=True)).size == (60, 40)
    assert load_image(png_with_comments(33 << 20, 33 << 20)).size == (60, 40)
    assert load_image(image_bytes(noise(), icc_profile=bytes(99 << 20))).size == (60, 40)


def test_the_comments_of_a_png_cannot_fill_the_memory() -> None:
    with pytest.raises(RecordError, match="undecodable"):
        load_image(png_with_comments(2 << 20, zip=True))


def test_too_many_pixels_are_refused() -> None:
    with pytest.raises(RecordError, match="too_large"):
        open_image(png_claiming(65_535, 65_535))


def test_pixel_limit_is_independent_of_pillow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(RecordError, match="too_large"):
        open_image(png_claiming(65_535, 65_535))
    monkeypatch.setattr(decode, "MAX_PIXELS", 60 * 40)
    assert open_image(image_bytes(noise())).size == (60, 40)
    monkeypatch.setattr(decode, "MAX_PIXELS", 60 * 40 - 1)
    with pytest.raises(RecordError, match="too_large"):
        open_image(image_bytes(noise()))


def test_eps_does_not_start_ghostscript(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = image_bytes(noise(), "EPS")
    assert Image.open(io.BytesIO(data)).format == "EPS"

    def fail(*args: object, **options: object) -> None:
        raise AssertionError("an external program was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", fail)
    monkeypatch.setattr("subprocess.Popen", fail)
    with pytest.raises(RecordError, match="undecodable"):
        load_image(data)


def test_draft_is_smaller_but_not_below_the_given_side() -> None:
    data = image_bytes(noise((800, 600)), "JPEG")
    assert load_image(data).size == (800, 600)
    draft = load_image(data, draft=128)
    assert draft.size != (800, 600)
    assert min(draft.size) >= 128
    assert load_image(image_bytes(noise((100, 90)), "JPEG"), draft=128).size == (100, 90)


def test_animation_loads_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = image_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load_image(data).convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = load_image(image_bytes(noise((60, 40)), exif=exif))
    assert image.size == (60, 40)
    assert apply_exif_orientation(image).size == (40, 60)


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_as_pillow_turns_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_image(image_bytes(noise((6, 4)), exif=exif))
    turned = apply_exif_orientation(image)
    expected = ImageOps.exif_transpose(image)
    assert (turned.size, turned.tobytes()) == (expected.size, expected.tobytes())


def exif_with(tag: int, type_: int, value: bytes) -> bytes:
    """Return EXIF of orientation 6 and one more tag of any type."""
    entries = [(0x0112, 3, 1, struct.pack("<HH", 6, 0)), (tag, type_, len(value), value)]
    table = b"".join(
        struct.pack("<HHI4s", tag, type_, count, value) for tag, type_, count, value in entries
    )
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)


@pytest.mark.parametrize(
    ("tag", "type_", "value"),
    [
        (0x011A, 2, b"72"),  # XResolution as text
        (0x0110, 1, b"ab"),  # Model as bytes
        (0x0131, 7, b"abcd"),  # Software of no type
        (0x0128, 2, b"in"),  # ResolutionUnit as text
        (0x0132, 1, b"\xff\xfe"),  # DateTime as bytes
        (0x8769, 2, b"x"),  # the Exif IFD at no position
    ],
)
def test_an_invalid_other_tag_does_not_lose_the_orientation(
    tag: int, type_: int, value: bytes
) -> None:
    data = image_bytes(noise((60, 40)), "JPEG", exif=exif_with(tag, type_, value))
    assert apply_exif_orientation(load_image(data)).size == (40, 60)


def test_rotation_keeps_the_transparent_color() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = load_image(image_bytes(noise().convert("P"), exif=exif, transparency=3))
    assert apply_exif_orientation(image).info["transparency"] == image.info["transparency"]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_invalid_exif_leaves_the_image_unchanged() -> None:
    image = load_image(image_bytes(noise()))
    image.info["exif"] = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"
    assert apply_exif_orientation(image).size == (60, 40)


@pytest.mark.filterwarnings("ignore")
def test_real_world_files_load_or_raise_a_record_error(
    real_data: Callable[[str], Path],
) -> None:
    folder = real_data("ugly")
    rows = ugly_files(folder, "image").values()
    assert len(rows) > 50
    mismatches = []
    for row in rows:
        try:
            load_image((folder / row["file_name"]).read_bytes())
            loads = True
        except RecordError:
            loads = False
        should = row["observed"] in ("ok", "ok_warn", "frame_error")
        # Fuzzed files marked may_raise load with some builds of libtiff and not with others.
        if loads != should and row["expected"] != "may_raise":
            mismatches.append((row["file_name"], row["observed"], loads))
    assert mismatches == []
