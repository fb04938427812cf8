"""Pictures by `hf:`: prepared as the checkpoint says, encoded as by its model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmfeat.errors import MmfeatError
from tests.mmfeat.encoders.checks import assert_alone_as_together, assert_they_differ
from tests.mmfeat.encoders.hf.checkpoints import transformers
from tests.mmfeat.samples import drawing, image_bytes

NAMES = ["clip", "siglip", "dino", "vit", "resnet"]


def picture(size: tuple[int, int]) -> bytes:
    return image_bytes(drawing(size))


SIZE = (90, 61)
PICTURE = picture(SIZE)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("query", ["", "?output=pooled", "?output=tokens&max_tokens=6"])
def test_a_picture_gets_its_feature(load: Callable[..., Any], name: str, query: str) -> None:
    encoder = load(name + query, "image")
    files = [PICTURE, picture((33, 70)), picture((40, 40))]
    features = assert_alone_as_together(encoder, files)
    assert_they_differ(*features[:2])
    if query.startswith("?output=tokens"):
        assert all(2 <= len(feature) <= 6 for feature in features)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(90, 61), (61, 90), (33, 70), (300, 201), (20, 19), (32, 39)])
def test_a_picture_is_prepared_as_the_checkpoint_says(
    load: Callable[..., Any], models: Callable[[str], Path], name: str, size: tuple[int, int]
) -> None:
    processor = transformers.AutoImageProcessor.from_pretrained(models(name))
    theirs = processor(images=drawing(size), return_tensors="pt")["pixel_values"]
    encoder = load(name, "image", reduced_decoding=False)
    ours = encoder.picture.batch([encoder.decode(picture(size))])
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs()
    assert difference.max() < 0.03
    assert difference.mean() < 0.005


def reference(models: Callable[[str], Path], name: str, encoder: Any) -> Any:
    model = transformers.AutoModel.from_pretrained(models(name)).eval()
    return model, encoder.picture.batch([encoder.decode(PICTURE)])


def test_outputs_of_pictures_are_those_of_the_model(
    load: Callable[..., Any], models: Callable[[str], Path]
) -> None:
    encoder = load("clip", "image")
    model, pixels = reference(models, "clip", encoder)
    item = encoder.decode(PICTURE)
    with torch.no_grad():
        outputs = model.vision_model(pixel_values=pixels)
        projected = model.visual_projection(outputs.pooler_output)
    tokens = load("clip?output=tokens", "image").encode([item])[0]
    np.testing.assert_allclose(encoder.encode([item]), projected, atol=1e-5)
    pooled = load("clip?output=pooled", "image").encode([item])
    np.testing.assert_allclose(pooled, outputs.pooler_output, atol=1e-5)
    np.testing.assert_allclose(tokens, outputs.last_hidden_state[0], atol=1e-5)

    encoder = load("vit?output=pooled", "image")
    model, pixels = reference(models, "vit", encoder)
    with torch.no_grad():
        states = model(pixel_values=pixels).last_hidden_state
    np.testing.assert_allclose(encoder.encode([encoder.decode(PICTURE)]), states[:, 0], atol=1e-5)


def test_fewer_tokens_of_a_picture_still_show_all_of_it(load: Callable[..., Any]) -> None:
    item = load("vit", "image").decode(PICTURE)
    whole = load("vit?output=tokens", "image").encode([item])[0]
    few = load("vit?output=tokens&max_tokens=5", "image").encode([item])[0]
    assert (whole.shape, few.shape) == ((17, 32), (5, 32))
    np.testing.assert_allclose(few[0], whole[0], atol=1e-5)
    np.testing.assert_allclose(few[1:].mean(0), whole[1:].mean(0), atol=1e-5)
    assert load("vit?output=tokens&max_tokens=1", "image").encode([item])[0].shape == (1, 32)
    assert load("resnet?output=tokens", "image").encode([item])[0].shape == (16, 16)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("do_resize", False),
        ("do_center_crop", False),
        ("do_pad", True),
        ("include_top", True),
        ("crop_size", {"height": 32, "width": 24}),
    ],
)
def test_a_preprocessor_that_does_more_is_refused_by_the_setting(
    load: Callable[..., Any], copied: Callable[..., Path], setting: str, value: Any
) -> None:
    path = copied("clip", "preprocessor_config.json", **{setting: value})
    with pytest.raises(MmfeatError, match=setting):
        load(path, "image")


def test_values_that_are_not_rescaled_are_kept_so(
    load: Callable[..., Any], copied: Callable[..., Path]
) -> None:
    change = {"do_rescale": False, "image_mean": [120.0] * 3, "image_std": [60.0] * 3}
    path = copied("vit", "preprocessor_config.json", **change)
    encoder = load(path, "image")
    processor = transformers.AutoImageProcessor.from_pretrained(path)
    theirs = processor(images=drawing(SIZE), return_tensors="pt")["pixel_values"]
    ours = encoder.picture.batch([encoder.decode(PICTURE)])
    assert (ours - theirs).abs().max() < 0.05
