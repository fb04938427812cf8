import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.media import images
from mmfeat.media.images import load_image, open_image
from mmfeat.media.resize import PictureFormat, Reencoding, ResizeMode


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def noise(size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.effect_noise(size, 80).convert("RGB")


def halves(size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, "red")
    image.paste((0, 0, 255), (size[0] // 2, 0, size[0], size[1]))
    return image


def done(image: Image.Image, format: str = "PNG", **settings: Any) -> Image.Image:
    return load_image(Reencoding(**settings).apply(encoded(image, format), format.lower())[0])


def near(pixel: Any, colour: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= 6 for a, b in zip(pixel, colour, strict=True))


@pytest.mark.parametrize(
    ("mode", "size", "source", "result"),
    [
        ("border", 30, (60, 40), (30, 30)),
        ("border", 90, (60, 40), (90, 90)),
        ("keep_ratio", 30, (60, 40), (45, 30)),
        ("keep_ratio", 30, (40, 60), (30, 45)),
        ("keep_ratio", 80, (60, 40), (120, 80)),
        ("keep_ratio_largest", 30, (60, 40), (30, 20)),
        ("keep_ratio_largest", 90, (60, 40), (90, 60)),
        ("keep_ratio_largest", 30, (900, 2), (30, 1)),
        ("center_crop", 30, (60, 40), (30, 30)),
        ("center_crop", 80, (40, 60), (80, 80)),
    ],
)
def test_each_mode_gives_its_size(
    mode: ResizeMode, size: int, source: tuple[int, int], result: tuple[int, int]
) -> None:
    assert done(noise(source), size=size, mode=mode).size == result


@pytest.mark.parametrize(
    ("mode", "size", "changes"),
    [
        ("border", 59, True),
        ("border", 60, False),
        ("keep_ratio_largest", 59, True),
        ("keep_ratio_largest", 60, False),
        ("keep_ratio", 39, True),
        ("keep_ratio", 40, False),
        ("center_crop", 39, True),
        ("center_crop", 40, False),
        ("center_crop", 50, False),
    ],
)
def test_only_if_bigger_leaves_the_others_byte_for_byte(
    mode: ResizeMode, size: int, changes: bool
) -> None:
    data = encoded(noise((60, 40)))
    new, extension = Reencoding(size, mode, only_if_bigger=True).apply(data, "png")
    assert (new != data, extension) == (changes, "png")
    both = Reencoding(size, mode, "jpg", only_if_bigger=True)
    assert (open_image(both.apply(data, "png")[0]).size != (60, 40)) == changes


def test_a_border_is_white_and_the_picture_in_its_middle() -> None:
    image = done(halves((60, 20)), size=30, mode="border")
    pixels = np.asarray(image.convert("RGB"))
    assert (pixels[:10] == 255).all()
    assert (pixels[20:] == 255).all()
    assert (pixels[10:20, :15] == (255, 0, 0)).all()
    assert (pixels[10:20, 15:] == (0, 0, 255)).all()


def test_a_crop_is_from_the_middle() -> None:
    stripes = Image.fromarray(np.repeat(np.arange(60, dtype="uint8")[None], 20, axis=0))
    pixels = np.asarray(done(stripes, size=20, mode="center_crop"))
    assert (pixels == np.arange(20, 40)).all()


def test_a_smaller_picture_holds_the_means_of_areas() -> None:
    checks = Image.fromarray((np.indices((40, 40)).sum(axis=0) % 2 * 200).astype("uint8"))
    assert (np.asarray(done(checks, size=20, mode="keep_ratio")) == 100).all()


@pytest.mark.parametrize("mode", ["border", "keep_ratio", "keep_ratio_largest", "center_crop"])
@pytest.mark.parametrize("encode", ["", "png"])
def test_where_nothing_is_to_be_done_the_same_bytes_come_back(
    mode: ResizeMode, encode: PictureFormat
) -> None:
    data = encoded(noise((40, 40)), compress_level=1)
    assert Reencoding(40, mode, encode).apply(data, "png") == (data, "png")


def test_without_a_size_only_the_format_changes() -> None:
    to_jpg = Reencoding(encode="jpg")
    new, extension = to_jpg.apply(encoded(noise()), "png")
    assert (open_image(new).format, extension, open_image(new).size) == ("JPEG", "jpg", (60, 40))
    assert to_jpg.apply(new, "jpeg") == (new, "jpg")
    assert to_jpg.apply(new, "png") == (new, "jpg")


@pytest.mark.parametrize(
    ("source", "extension", "format", "result"),
    [
        ("JPEG", "jpg", "JPEG", "jpg"),
        ("JPEG", "jpeg", "JPEG", "jpeg"),
        ("JPEG", "png", "JPEG", "jpg"),
        ("PNG", "png", "PNG", "png"),
        ("WEBP", "webp", "WEBP", "webp"),
        ("BMP", "bmp", "JPEG", "jpg"),
        ("GIF", "gif", "JPEG", "jpg"),
        ("TIFF", "tif", "JPEG", "jpg"),
    ],
)
def test_a_resized_picture_stays_in_its_family(
    source: str, extension: str, format: str, result: str
) -> None:
    new, name = Reencoding(20, "keep_ratio").apply(encoded(noise(), source), extension)
    assert (open_image(new).format, name) == (format, result)


def test_a_strange_format_with_alpha_becomes_png() -> None:
    see_through = Image.new("RGBA", (60, 40), (255, 0, 0, 0))
    new, extension = Reencoding(20, "keep_ratio").apply(encoded(see_through, "TIFF"), "tif")
    assert (open_image(new).format, extension) == ("PNG", "png")
    assert np.asarray(load_image(new))[5, 5, 3] == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("settings", [{}, {"size": 20, "mode": "keep_ratio"}])
def test_alpha_is_laid_on_white_for_jpg(mode: str, settings: dict[str, Any]) -> None:
    image = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (30, 0, 60, 40))
    result = done(image.convert(mode), encode="jpg", **settings).convert("RGB")
    width, height = result.size
    assert near(result.getpixel((3, height // 2)), (255, 255, 255))
    assert near(result.getpixel((width - 4, height // 2)), (0, 0, 0))


def test_a_transparent_colour_of_a_palette_survives_resizing() -> None:
    image = Image.new("P", (60, 40), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    data = encoded(image, transparency=0)
    new, _ = Reencoding(20, "keep_ratio").apply(data, "png")
    assert np.asarray(load_image(new).convert("RGBA"))[9, 9, 3] == 0


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "I;16", "I", "F"])
def test_every_mode_keeps_its_look(mode: str, format: PictureFormat) -> None:
    if mode.startswith("I"):
        image = Image.fromarray(np.full((40, 60), 128 * 257, "uint16" if ";" in mode else "int32"))
    elif mode == "1":
        image = Image.new("1", (60, 40), 1)
    else:
        image = Image.new("RGB", (60, 40), (128, 128, 128))
        image = image.convert("L").convert("F") if mode == "F" else image.convert(mode)
    assert image.mode == mode
    result = done(image, "TIFF", size=20, mode="keep_ratio", encode=format)
    grey = 255 if mode == "1" else 128
    assert near(result.convert("RGB").getpixel((9, 9)), (grey,) * 3)


def test_a_picture_is_turned_as_exif_says_and_forgets_it() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    data = encoded(halves((60, 40)), "JPEG", exif=turned, quality=95)
    for settings in ({"encode": "png"}, {"size": 20, "mode": "keep_ratio"}):
        result = load_image(Reencoding(**settings).apply(data, "jpg")[0])
        assert result.height > result.width
        assert near(result.convert("RGB").getpixel((10, 3)), (254, 0, 0))
        assert not result.getexif()


def test_metadata_is_left_behind() -> None:
    data = encoded(noise(), "JPEG", icc_profile=b"profile" * 9, comment=b"made by me")
    for format in ("jpg", "png", "webp"):
        new, _ = Reencoding(20, "keep_ratio", format).apply(data, "jpg")
        assert b"profile" not in new
        assert b"made by me" not in new


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    new, _ = Reencoding(encode="webp").apply(data, "gif")
    assert getattr(open_image(new), "n_frames", 1) == 1
    assert near(load_image(new).convert("RGB").getpixel((4, 4)), (255, 0, 0))


def test_quality_is_for_jpg_and_webp_and_png_has_no_loss() -> None:
    data = encoded(noise(), "BMP")
    for format in ("jpg", "webp"):
        poor = Reencoding(encode=format, quality=20).apply(data, "bmp")[0]
        assert len(poor) < len(Reencoding(encode=format).apply(data, "bmp")[0])
    png = Reencoding(encode="png", quality=1).apply(data, "bmp")[0]
    assert png == Reencoding(encode="png").apply(data, "bmp")[0]
    assert load_image(png).tobytes() == load_image(data).tobytes()


def test_the_bytes_are_the_same_each_time() -> None:
    data = encoded(noise())
    for format in ("jpg", "png", "webp"):
        recipe = Reencoding(20, "border", format)
        assert recipe.apply(data, "png") == recipe.apply(data, "png")


def test_nothing_asked_is_nothing_opened() -> None:
    assert not Reencoding().active
    assert Reencoding().apply(b"no picture", "txt") == (b"no picture", "txt")
    assert Reencoding(encode="jpg").active
    assert Reencoding(8, "border").active


@pytest.mark.parametrize("data", [b"", b"no picture", encoded(noise())[:500]])
def test_what_is_no_picture_is_undecodable(data: bytes) -> None:
    with pytest.raises(RecordError, match="undecodable"):
        Reencoding(20, "keep_ratio").apply(data, "png")


@pytest.mark.parametrize("mode", ["keep_ratio", "center_crop"])
def test_a_thin_picture_does_not_explode(mode: ResizeMode) -> None:
    data = encoded(Image.new("L", (1, 100_000)))
    with pytest.raises(RecordError, match="too_large"):
        Reencoding(256, mode).apply(data, "png")


def test_no_more_pixels_are_made_than_may_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(noise((60, 40)))
    monkeypatch.setattr(images, "MAX_PIXELS", 60 * 60)
    Reencoding(60, "border").apply(data, "png")
    with pytest.raises(RecordError, match="too_large"):
        Reencoding(61, "border").apply(data, "png")


@pytest.mark.parametrize(("format", "longest"), [("jpg", 65_500), ("webp", 16_383)])
def test_a_side_too_long_for_the_format_is_too_large(format: PictureFormat, longest: int) -> None:
    fits = encoded(Image.new("L", (longest, 1)))
    assert open_image(Reencoding(encode=format).apply(fits, "png")[0]).width == longest
    with pytest.raises(RecordError, match="too_large"):
        Reencoding(encode=format).apply(encoded(Image.new("L", (longest + 1, 1))), "png")


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"size": 256}, "--resize-mode"),
        ({"mode": "border"}, "--resize "),
        ({"size": -1, "mode": "border"}, "--resize"),
        ({"size": 16_385, "mode": "border"}, "--resize"),
        ({"encode": "jpg", "quality": 0}, "--encode-quality"),
        ({"encode": "jpg", "quality": 101}, "--encode-quality"),
        ({"encode": "gif"}, "--encode"),
        ({"size": 8, "mode": "stretch"}, "--resize-mode"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], flag: str) -> None:
    with pytest.raises(MmfeatError) as caught:
        Reencoding(**settings)
    assert flag in caught.value.rule + caught.value.cure
    assert caught.value.cure


@pytest.mark.filterwarnings("ignore")
def test_files_from_the_wild_are_encoded_anew_or_raise_a_record_error(
    real_data: Callable[[str], Path],
) -> None:
    folder = real_data("ugly")
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "image"]
    wrong, sizes = [], []
    for row in rows:
        data = (folder / row["file_name"]).read_bytes()
        for format in ("jpg", "png"):
            try:
                load_image(data)
                loads = True
            except RecordError:
                loads = False
            try:
                new, _ = Reencoding(64, "border", format).apply(data, "img")
                sizes.append(load_image(new).size)
                made = True
            except RecordError:
                made = False
            if loads != made:
                wrong.append((row["file_name"], loads, made))
    assert wrong == []
    assert len(sizes) > 50
    assert set(sizes) == {(64, 64)}
