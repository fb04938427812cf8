from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.media.images import decode
from mmfeat.media.images.decode import load_image, open_image
from mmfeat.media.images.resize import ImageFormat, ImageResizer, ResizeMode
from tests.mmfeat import errors
from tests.mmfeat.samples import image_bytes
from tests.ugly_files import ugly_files


def noise(size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.effect_noise(size, 80).convert("RGB")


def halves(size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Return an image with a red left and a blue right half."""
    image = Image.new("RGB", size, "red")
    image.paste((0, 0, 255), (size[0] // 2, 0, size[0], size[1]))
    return image


def resized(image: Image.Image, format: str = "PNG", **settings: Any) -> Image.Image:
    return load_image(ImageResizer(**settings).apply(image_bytes(image, format), format.lower())[0])


def is_close(pixel: Any, color: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= 6 for a, b in zip(pixel, color, strict=True))


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
def test_mode_determines_the_size(
    mode: ResizeMode, size: int, source: tuple[int, int], result: tuple[int, int]
) -> None:
    assert resized(noise(source), size=size, mode=mode).size == result


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
def test_only_if_bigger_keeps_the_bytes_of_small_images(
    mode: ResizeMode, size: int, changes: bool
) -> None:
    data = image_bytes(noise((60, 40)))
    new, extension = ImageResizer(size, mode, only_if_bigger=True).apply(data, "png")
    assert (new != data, extension) == (changes, "png")
    both = ImageResizer(size, mode, "jpg", only_if_bigger=True)
    assert (open_image(both.apply(data, "png")[0]).size != (60, 40)) == changes


def test_border_is_white_around_the_centered_image() -> None:
    image = resized(halves((60, 20)), size=30, mode="border")
    pixels = np.asarray(image.convert("RGB"))
    assert (pixels[:10] == 255).all()
    assert (pixels[20:] == 255).all()
    assert (pixels[10:20, :15] == (255, 0, 0)).all()
    assert (pixels[10:20, 15:] == (0, 0, 255)).all()


def test_crop_is_centered() -> None:
    stripes = Image.fromarray(np.repeat(np.arange(60, dtype="uint8")[None], 20, axis=0))
    pixels = np.asarray(resized(stripes, size=20, mode="center_crop"))
    assert (pixels == np.arange(20, 40)).all()


def test_shrinking_averages_areas() -> None:
    checks = Image.fromarray((np.indices((40, 40)).sum(axis=0) % 2 * 200).astype("uint8"))
    assert (np.asarray(resized(checks, size=20, mode="keep_ratio")) == 100).all()


@pytest.mark.parametrize("mode", ["border", "keep_ratio", "keep_ratio_largest", "center_crop"])
@pytest.mark.parametrize("encode", ["", "png"])
def test_unchanged_image_keeps_its_bytes(mode: ResizeMode, encode: ImageFormat) -> None:
    data = image_bytes(noise((40, 40)), compress_level=1)
    assert ImageResizer(40, mode, encode).apply(data, "png") == (data, "png")


def test_without_a_size_only_the_format_changes() -> None:
    to_jpg = ImageResizer(encode="jpg")
    new, extension = to_jpg.apply(image_bytes(noise()), "png")
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
def test_resized_image_keeps_its_format_if_supported(
    source: str, extension: str, format: str, result: str
) -> None:
    new, name = ImageResizer(20, "keep_ratio").apply(image_bytes(noise(), source), extension)
    assert (open_image(new).format, name) == (format, result)


def test_unsupported_format_with_alpha_becomes_png() -> None:
    transparent = Image.new("RGBA", (60, 40), (255, 0, 0, 0))
    new, extension = ImageResizer(20, "keep_ratio").apply(image_bytes(transparent, "TIFF"), "tif")
    assert (open_image(new).format, extension) == ("PNG", "png")
    assert np.asarray(load_image(new))[5, 5, 3] == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("settings", [{}, {"size": 20, "mode": "keep_ratio"}])
def test_alpha_is_blended_with_white_for_jpg(mode: str, settings: dict[str, Any]) -> None:
    image = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (30, 0, 60, 40))
    result = resized(image.convert(mode), encode="jpg", **settings).convert("RGB")
    width, height = result.size
    assert is_close(result.getpixel((3, height // 2)), (255, 255, 255))
    assert is_close(result.getpixel((width - 4, height // 2)), (0, 0, 0))


def test_transparent_palette_color_survives() -> None:
    image = Image.new("P", (60, 40), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    data = image_bytes(image, transparency=0)
    new, _ = ImageResizer(20, "keep_ratio").apply(data, "png")
    assert np.asarray(load_image(new).convert("RGBA"))[9, 9, 3] == 0


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "I;16", "I", "F"])
def test_every_pixel_mode_keeps_its_colors(mode: str, format: ImageFormat) -> None:
    if mode.startswith("I"):
        image = Image.fromarray(np.full((40, 60), 128 * 257, "uint16" if ";" in mode else "int32"))
    elif mode == "1":
        image = Image.new("1", (60, 40), 1)
    else:
        image = Image.new("RGB", (60, 40), (128, 128, 128))
        image = image.convert("L").convert("F") if mode == "F" else image.convert(mode)
    assert image.mode == mode
    result = resized(image, "TIFF", size=20, mode="keep_ratio", encode=format)
    grey = 255 if mode == "1" else 128
    assert is_close(result.convert("RGB").getpixel((9, 9)), (grey,) * 3)


def test_exif_orientation_is_applied_and_removed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = image_bytes(halves((60, 40)), "JPEG", exif=exif, quality=95)
    for settings in ({"encode": "png"}, {"size": 20, "mode": "keep_ratio"}):
        result = load_image(ImageResizer(**settings).apply(data, "jpg")[0])
        assert result.height > result.width
        assert is_close(result.convert("RGB").getpixel((10, 3)), (254, 0, 0))
        assert not result.getexif()


def test_metadata_is_removed() -> None:
    data = image_bytes(noise(), "JPEG", icc_profile=b"profile" * 9, comment=b"made by me")
    for format in ("jpg", "png", "webp"):
        new, _ = ImageResizer(20, "keep_ratio", format).apply(data, "jpg")
        assert b"profile" not in new
        assert b"made by me" not in new


def test_animation_becomes_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    data = image_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    new, _ = ImageResizer(encode="webp").apply(data, "gif")
    assert getattr(open_image(new), "n_frames", 1) == 1
    assert is_close(load_image(new).convert("RGB").getpixel((4, 4)), (255, 0, 0))


def test_quality_applies_to_jpg_and_webp_only() -> None:
    data = image_bytes(noise(), "BMP")
    for format in ("jpg", "webp"):
        poor = ImageResizer(encode=format, quality=20).apply(data, "bmp")[0]
        assert len(poor) < len(ImageResizer(encode=format).apply(data, "bmp")[0])
    png = ImageResizer(encode="png", quality=1).apply(data, "bmp")[0]
    assert png == ImageResizer(encode="png").apply(data, "bmp")[0]
    assert load_image(png).tobytes() == load_image(data).tobytes()


def test_output_is_deterministic() -> None:
    data = image_bytes(noise())
    for format in ("jpg", "png", "webp"):
        resizer = ImageResizer(20, "border", format)
        assert resizer.apply(data, "png") == resizer.apply(data, "png")


def test_inactive_resizer_opens_nothing() -> None:
    assert not ImageResizer().active
    assert ImageResizer().apply(b"no picture", "txt") == (b"no picture", "txt")
    assert ImageResizer(encode="jpg").active
    assert ImageResizer(8, "border").active


@pytest.mark.parametrize("data", [b"", b"no picture", image_bytes(noise())[:500]])
def test_other_bytes_are_undecodable(data: bytes) -> None:
    with pytest.raises(RecordError, match="undecodable"):
        ImageResizer(20, "keep_ratio").apply(data, "png")


@pytest.mark.parametrize("mode", ["keep_ratio", "center_crop"])
def test_thin_image_does_not_become_huge(mode: ResizeMode) -> None:
    data = image_bytes(Image.new("L", (1, 100_000)))
    with pytest.raises(RecordError, match="too_large"):
        ImageResizer(256, mode).apply(data, "png")


def test_output_has_a_pixel_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = image_bytes(noise((60, 40)))
    monkeypatch.setattr(decode, "MAX_PIXELS", 60 * 60)
    ImageResizer(60, "border").apply(data, "png")
    with pytest.raises(RecordError, match="too_large"):
        ImageResizer(61, "border").apply(data, "png")


@pytest.mark.parametrize(("format", "longest"), [("jpg", 65_500), ("webp", 16_383)])
def test_side_too_long_for_the_format_is_refused(format: ImageFormat, longest: int) -> None:
    fits = image_bytes(Image.new("L", (longest, 1)))
    assert open_image(ImageResizer(encode=format).apply(fits, "png")[0]).width == longest
    with pytest.raises(RecordError, match="too_large"):
        ImageResizer(encode=format).apply(image_bytes(Image.new("L", (longest + 1, 1))), "png")


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
def test_invalid_settings_are_refused(settings: dict[str, Any], flag: str) -> None:
    with pytest.raises(MmfeatError) as caught:
        ImageResizer(**settings)
    assert flag in caught.value.rule + caught.value.cure
    assert caught.value.cure


@pytest.mark.filterwarnings("ignore")
def test_real_world_files_are_resized_or_raise_a_record_error(
    real_data: Callable[[str], Path],
) -> None:
    folder = real_data("ugly")
    rows = ugly_files(folder, "image").values()
    mismatches, sizes = [], []
    for row in rows:
        data = (folder / row["file_name"]).read_bytes()
        for format in ("jpg", "png"):
            loads = errors.outcome(load_image, data) == "fine"
            try:
                new, _ = ImageResizer(64, "border", format).apply(data, "img")
                sizes.append(load_image(new).size)
                resizes = True
            except RecordError:
                resizes = False
            if loads != resizes:
                mismatches.append((row["file_name"], loads, resizes))
    assert mismatches == []
    assert len(sizes) > 50
    assert set(sizes) == {(64, 64)}
