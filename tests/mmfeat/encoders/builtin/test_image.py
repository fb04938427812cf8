"""`builtin:image` describes colour, shape and silhouette of images of every mode."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmfeat.encoders.builtin.image import SIDE, ImageDescriptor
from mmfeat.errors import MmfeatError, RecordError
from tests.mmfeat.encoders.checks import assert_valid_vector, cosine, heavy_imports
from tests.mmfeat.errors import record_error_reason
from tests.mmfeat.samples import drawing, image_bytes


def feature(data: bytes, encoder: ImageDescriptor | None = None) -> np.ndarray:
    encoder = encoder or ImageDescriptor()
    return encoder.encode([encoder.decode(data)])[0]


def assert_valid_feature(data: bytes) -> np.ndarray:
    vector = feature(data)
    assert_valid_vector(vector, ImageDescriptor().dim)
    return vector


FILES = {
    "1": image_bytes(drawing(mode="1")),
    "L": image_bytes(drawing(mode="L")),
    "LA": image_bytes(drawing(mode="LA")),
    "P": image_bytes(drawing(mode="P")),
    "P with a transparent entry": image_bytes(drawing(mode="P"), transparency=3),
    "RGB": image_bytes(drawing()),
    "RGB with a transparent colour": image_bytes(drawing(), transparency=(255, 255, 255)),
    "RGBA": image_bytes(drawing(mode="RGBA")),
    "CMYK": image_bytes(drawing(mode="CMYK"), "JPEG"),
    "YCbCr, which JPEG stores": image_bytes(drawing(), "JPEG", quality=95),
    "LAB": image_bytes(drawing(mode="LAB"), "TIFF"),
    "I;16": image_bytes(Image.fromarray(np.asarray(drawing(mode="L")).astype(np.uint16) * 257)),
    "I": image_bytes(Image.fromarray(np.asarray(drawing(mode="L")).astype(np.int32)), "TIFF"),
    "F": image_bytes(Image.fromarray(np.asarray(drawing(mode="L")).astype(np.float32)), "TIFF"),
    "GIF": image_bytes(drawing(mode="P"), "GIF"),
    "WEBP": image_bytes(drawing(mode="RGBA"), "WEBP"),
}


ORIGINALS = {
    "RGBA": {"LA", "RGB with a transparent colour", "WEBP"},
    "L": {"1", "I;16", "I", "F"},
}


@pytest.mark.parametrize("name", FILES)
def test_image_is_nearest_to_its_copy_in_another_mode(name: str) -> None:
    vector = assert_valid_feature(FILES[name])
    assert vector.any()
    original = next((original for original, names in ORIGINALS.items() if name in names), "RGB")
    if name in ("RGBA", "L"):
        original = name
    others = {other: cosine(vector, feature(FILES[other])) for other in ("RGBA", "L", "RGB")}
    assert max(others, key=others.__getitem__) == original
    assert others[original] > 0.6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "F"])
def test_files_have_the_modes_they_are_named_after(mode: str) -> None:
    assert Image.open(io.BytesIO(FILES[mode])).mode == mode


@pytest.mark.parametrize("name", ["I;16", "I", "F"])
def test_high_bit_depth_equals_eight_bits(name: str) -> None:
    np.testing.assert_allclose(feature(FILES[name]), feature(FILES["L"]), atol=0.02)


def test_nan_and_infinite_pixels_are_replaced() -> None:
    pixels = np.asarray(drawing(mode="L")).astype(np.float32)
    pixels[:5], pixels[5:9], pixels[9:12] = np.nan, np.inf, -np.inf
    assert assert_valid_feature(image_bytes(Image.fromarray(pixels), "TIFF")).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (3000, 7), (64, 64)])
@pytest.mark.parametrize("colour", ["black", "white", (0, 0, 0, 0), (255, 0, 255, 1)])
def test_images_without_content_have_valid_vectors(
    size: tuple[int, int], colour: str | tuple[int, ...]
) -> None:
    assert_valid_feature(image_bytes(Image.new("RGBA", size, colour)))


def test_features_do_not_depend_on_the_batch() -> None:
    encoder = ImageDescriptor()
    batch = [encoder.decode(data) for data in FILES.values()]
    together = encoder.encode(batch)
    np.testing.assert_array_equal(encoder.encode(batch[::-1])[::-1], together)
    np.testing.assert_array_equal([encoder.encode([one])[0] for one in batch], together)
    assert encoder.encode([]).shape == (0, encoder.dim)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = drawing().transpose(undo)
    oriented = feature(image_bytes(stored, exif=exif))
    np.testing.assert_allclose(oriented, feature(image_bytes(drawing())), atol=1e-6)
    assert np.abs(oriented - feature(image_bytes(stored))).max() > 0.05


def test_transparent_differs_from_opaque() -> None:
    clear, solid = feature(image_bytes(drawing(mode="RGBA"))), feature(image_bytes(drawing()))
    assert cosine(clear, solid) < 0.95


def test_colour_of_transparent_pixels_does_not_matter() -> None:
    pixels = np.asarray(drawing(mode="RGBA")).copy()
    before = feature(image_bytes(Image.fromarray(pixels)))
    pixels[pixels[..., 3] == 0] = (0, 255, 0, 0)
    np.testing.assert_array_equal(feature(image_bytes(Image.fromarray(pixels))), before)


def test_silhouette_alone_distinguishes_images() -> None:
    grey = [Image.new("RGBA", (64, 64), (128, 128, 128, 0)) for _ in range(2)]
    ImageDraw.Draw(grey[0]).ellipse((8, 8, 56, 56), fill=(128, 128, 128, 255))
    ImageDraw.Draw(grey[1]).rectangle((8, 28, 56, 36), fill=(128, 128, 128, 255))
    disc, bar = (feature(image_bytes(image)) for image in grey)
    assert cosine(disc, bar) < 0.8


def test_colour_and_shape_both_matter() -> None:
    image = drawing()
    other_colours = Image.merge("RGB", image.split()[::-1])
    mirrored = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    for other in (other_colours, mirrored):
        assert np.abs(feature(image_bytes(image)) - feature(image_bytes(other))).max() > 0.1


def test_other_size_is_similar() -> None:
    big, small = drawing((720, 480)), drawing((720, 480)).resize((90, 60))
    assert cosine(feature(image_bytes(big)), feature(image_bytes(small))) > 0.97
    assert cosine(feature(image_bytes(big, "JPEG", quality=95)), feature(image_bytes(big))) > 0.97


def test_aspect_ratio_matters() -> None:
    image = drawing((60, 60))
    wide, tall = (feature(image_bytes(image.resize(size))) for size in ((120, 60), (60, 120)))
    assert wide[-1] > 0 > tall[-1]


def test_animation_equals_its_first_frame() -> None:
    still = drawing(mode="P")
    animation = image_bytes(still, "GIF", save_all=True, append_images=[Image.new("P", still.size)])
    np.testing.assert_array_equal(feature(animation), feature(image_bytes(still, "GIF")))


@pytest.mark.parametrize(
    "data",
    [b"", b"no image", image_bytes(drawing(), "JPEG")[:700], image_bytes(drawing(), "EPS")],
)
def test_invalid_image_is_undecodable(data: bytes) -> None:
    assert record_error_reason(ImageDescriptor().decode, data) == "undecodable"


def test_failed_conversion_is_undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(image: Image.Image, mode: str) -> None:
        raise ValueError(f"conversion from {image.mode} to {mode} not supported")

    data = image_bytes(drawing().convert("L"))
    monkeypatch.setattr(Image.Image, "convert", refuse)
    with pytest.raises(RecordError, match="conversion from L"):
        ImageDescriptor().decode(data)


def test_opaque_image_is_as_with_alpha() -> None:
    image = drawing().convert("RGB")
    pixels, _ = ImageDescriptor().decode(image_bytes(image, "PNG"))
    with_alpha, _ = ImageDescriptor().decode(image_bytes(image.convert("RGBA"), "PNG"))
    np.testing.assert_array_equal(pixels, with_alpha)


def test_decoded_size_is_fixed() -> None:
    for size in ((3, 9), (1500, 1000)):
        pixels, _ = ImageDescriptor().decode(image_bytes(drawing().resize(size), "JPEG"))
        assert pixels.shape == (SIDE, SIDE, 4)
        assert pixels.dtype == np.uint8


@pytest.mark.parametrize("directions", [3, 37, 8.0, "12"])
def test_invalid_directions_are_an_error(directions: Any) -> None:
    with pytest.raises(MmfeatError, match="directions"):
        ImageDescriptor(directions=directions)


def test_identity_is_json_with_all_options() -> None:
    identity = ImageDescriptor(directions=8).identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity != ImageDescriptor().identity()
    assert {"name", "version", "directions", "pillow"} <= identity.keys()
    assert feature(FILES["RGB"], ImageDescriptor(directions=8)).shape == (
        ImageDescriptor(directions=8).dim,
    )


def test_import_is_light() -> None:
    assert heavy_imports("mmfeat.encoders.builtin.image") == "[]"
