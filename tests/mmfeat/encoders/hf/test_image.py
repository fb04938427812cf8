"""Images by `hf:` equal the checkpoint's image processor and model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmfeat.errors import MmfeatError
from tests.mmfeat.encoders.checks import assert_batch_independent, assert_features_differ
from tests.mmfeat.encoders.hf.checkpoints import transformers
from tests.mmfeat.samples import drawing, image_bytes

NAMES = ["clip", "siglip", "dino", "vit", "resnet"]


def image(size: tuple[int, int]) -> bytes:
    return image_bytes(drawing(size))


SIZE = (90, 61)
IMAGE = image(SIZE)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("query", ["", "?output=pooled", "?output=tokens&max_tokens=6"])
def test_features_do_not_depend_on_batch(load: Callable[..., Any], name: str, query: str) -> None:
    encoder = load(name + query, "image")
    files = [IMAGE, image((33, 70)), image((40, 40))]
    features = assert_batch_independent(encoder, files)
    assert_features_differ(*features[:2])
    if query.startswith("?output=tokens"):
        assert all(2 <= len(feature) <= 6 for feature in features)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(90, 61), (61, 90), (33, 70), (300, 201), (20, 19), (32, 39)])
def test_preprocessing_equals_the_processor(
    load: Callable[..., Any], models: Callable[[str], Path], name: str, size: tuple[int, int]
) -> None:
    processor = transformers.AutoImageProcessor.from_pretrained(models(name))
    expected = processor(images=drawing(size), return_tensors="pt")["pixel_values"]
    encoder = load(name, "image", reduced_decoding=False)
    actual = encoder.transform.to_tensor([encoder.decode(image(size))])
    assert actual.shape == expected.shape
    difference = (actual - expected).abs()
    assert difference.max() < 0.03
    assert difference.mean() < 0.005


def reference(models: Callable[[str], Path], name: str, encoder: Any) -> Any:
    model = transformers.AutoModel.from_pretrained(models(name)).eval()
    return model, encoder.transform.to_tensor([encoder.decode(IMAGE)])


def test_outputs_equal_the_model(load: Callable[..., Any], models: Callable[[str], Path]) -> None:
    encoder = load("clip", "image")
    model, pixels = reference(models, "clip", encoder)
    item = encoder.decode(IMAGE)
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
    np.testing.assert_allclose(encoder.encode([encoder.decode(IMAGE)]), states[:, 0], atol=1e-5)


def test_excess_tokens_are_averaged(load: Callable[..., Any]) -> None:
    item = load("vit", "image").decode(IMAGE)
    all_tokens = load("vit?output=tokens", "image").encode([item])[0]
    few = load("vit?output=tokens&max_tokens=5", "image").encode([item])[0]
    assert (all_tokens.shape, few.shape) == ((17, 32), (5, 32))
    np.testing.assert_allclose(few[0], all_tokens[0], atol=1e-5)
    np.testing.assert_allclose(few[1:].mean(0), all_tokens[1:].mean(0), atol=1e-5)
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
def test_unsupported_preprocessor_setting_is_an_error(
    load: Callable[..., Any], copied: Callable[..., Path], setting: str, value: Any
) -> None:
    path = copied("clip", "preprocessor_config.json", **{setting: value})
    with pytest.raises(MmfeatError, match=setting):
        load(path, "image")


def test_preprocessing_without_rescaling(
    load: Callable[..., Any], copied: Callable[..., Path]
) -> None:
    change = {"do_rescale": False, "image_mean": [120.0] * 3, "image_std": [60.0] * 3}
    path = copied("vit", "preprocessor_config.json", **change)
    encoder = load(path, "image")
    processor = transformers.AutoImageProcessor.from_pretrained(path)
    expected = processor(images=drawing(SIZE), return_tensors="pt")["pixel_values"]
    actual = encoder.transform.to_tensor([encoder.decode(IMAGE)])
    assert (actual - expected).abs().max() < 0.05
