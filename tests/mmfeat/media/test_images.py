import csv
import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from mmfeat.errors import RecordError
from mmfeat.media import images
from mmfeat.media.images import load_image, open_image, upright

UGLY = Path(__file__).resolve().parents[2] / "../shared/data/ugly"


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def noise(size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.effect_noise(size, 80).convert("RGB")


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


def test_open_reads_the_header_and_leaves_the_pixels() -> None:
    cut = encoded(noise())[:200]
    assert open_image(cut).size == (60, 40)
    with pytest.raises(RecordError, match="undecodable"):
        load_image(cut)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "TGA"])
def test_a_truncated_file_is_undecodable(format: str) -> None:
    whole = encoded(noise(), format)
    assert load_image(whole).size == (60, 40)
    with pytest.raises(RecordError) as caught:
        load_image(whole[: len(whole) // 2])
    assert caught.value.reason == "undecodable"


@pytest.mark.parametrize("data", [b"", b"\x00", b"GIF89a", b"<svg/>", b"\xff\xd8\xff", b"x" * 999])
def test_bytes_that_are_no_picture_are_undecodable(data: bytes) -> None:
    with pytest.raises(RecordError) as caught:
        open_image(data)
    assert caught.value.reason == "undecodable"
    assert caught.value.detail


def test_more_pixels_than_allowed_are_too_large() -> None:
    with pytest.raises(RecordError, match="too_large"):
        open_image(png_claiming(65_535, 65_535))


def test_our_bound_holds_where_the_process_has_switched_pillows_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(RecordError, match="too_large"):
        open_image(png_claiming(65_535, 65_535))
    monkeypatch.setattr(images, "MAX_PIXELS", 60 * 40)
    assert open_image(encoded(noise())).size == (60, 40)
    monkeypatch.setattr(images, "MAX_PIXELS", 60 * 40 - 1)
    with pytest.raises(RecordError, match="too_large"):
        open_image(encoded(noise()))


def test_eps_is_refused_because_pillow_would_start_ghostscript(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encoded(noise(), "EPS")
    assert Image.open(io.BytesIO(data)).format == "EPS"

    def started(*args: object, **options: object) -> None:
        raise AssertionError("an external program was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", started)
    monkeypatch.setattr("subprocess.Popen", started)
    with pytest.raises(RecordError, match="undecodable"):
        load_image(data)


def test_a_draft_is_smaller_but_never_below_the_asked_side() -> None:
    data = encoded(noise((800, 600)), "JPEG")
    assert load_image(data).size == (800, 600)
    draft = load_image(data, draft=128)
    assert draft.size != (800, 600)
    assert min(draft.size) >= 128
    assert load_image(encoded(noise((100, 90)), "JPEG"), draft=128).size == (100, 90)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load_image(data).convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_upright_turns_as_exif_says() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    image = load_image(encoded(noise((60, 40)), exif=turned))
    assert image.size == (60, 40)
    assert upright(image).size == (40, 60)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_upright_leaves_a_picture_whose_exif_is_broken() -> None:
    image = load_image(encoded(noise()))
    image.info["exif"] = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"
    assert upright(image).size == (60, 40)


@pytest.mark.skipif(not UGLY.exists(), reason=f"{UGLY} is not beside this checkout")
@pytest.mark.filterwarnings("ignore")
def test_files_from_the_wild_load_or_raise_a_record_error() -> None:
    with (UGLY / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "image"]
    assert len(rows) > 50
    wrong = []
    for row in rows:
        try:
            load_image((UGLY / row["file_name"]).read_bytes())
            loads = True
        except RecordError:
            loads = False
        should = row["observed"] in ("ok", "ok_warn", "frame_error")
        # Fuzzed files marked may_raise load with some builds of libtiff and not with others.
        if loads != should and row["expected"] != "may_raise":
            wrong.append((row["file_name"], row["observed"], loads))
    assert wrong == []
