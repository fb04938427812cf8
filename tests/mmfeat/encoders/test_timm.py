"""`timm:` equals timm, on its smallest models."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mmfeat.encoders import Encoder
from mmfeat.encoders import timm as scheme
from mmfeat.encoders.neural.image_encoder import limit_grid_tokens
from mmfeat.encoders.settings import Settings
from mmfeat.encoders.timm import image_transform
from mmfeat.errors import MmfeatError, RecordError
from tests.mmfeat.encoders.checks import (
    MaliciousPickle,
    assert_batch_independent,
    assert_cast_equals_loading,
    encode_all,
    load_encoder,
)
from tests.mmfeat.errors import assert_one_line_error
from tests.mmfeat.samples import image_bytes, photo

timm = pytest.importorskip("timm")

MODELS = ("test_resnet", "test_vit")


def load(name: str, modality: str = "image", **values: str) -> Encoder:
    return load_encoder(scheme, name, modality, **values)


def create_model(model: str, seed: int = 0, **arguments: Any) -> Any:
    torch.manual_seed(seed)
    return timm.create_model(model, pretrained=False, **arguments).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the weights of each model, classifier included."""
    folder = tmp_path_factory.mktemp("weights")
    for model in MODELS:
        save_file(create_model(model, num_classes=7).state_dict(), folder / f"{model}.safetensors")
    return folder


FILES = [image_bytes(photo(*size)) for size in ((300, 200), (160, 160), (90, 201))]


def transformed(model: Any) -> torch.Tensor:
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    return torch.stack([transform(Image.open(io.BytesIO(file))) for file in FILES])


@pytest.mark.parametrize("model", MODELS)
def test_vectors_equal_the_library(model: str, folder: Path) -> None:
    reference = create_model(model, num_classes=0)
    state = timm.models.load_state_dict(str(folder / f"{model}.safetensors"))
    reference.load_state_dict(state, strict=False)
    with torch.inference_mode():
        expected = reference(transformed(reference)).numpy()
        grid = reference.forward_features(transformed(reference))
    encoder = load(f"{model}/{folder}/{model}.safetensors")
    assert encoder.dim == expected.shape[1]
    np.testing.assert_allclose(np.stack(encode_all(encoder, FILES)), expected, atol=1e-4)
    tokens = load(f"{model}/{folder}/{model}.safetensors", output="tokens", max_tokens="256")
    grid = grid.flatten(2).mT if grid.ndim == 4 else grid
    np.testing.assert_allclose(np.stack(encode_all(tokens, FILES)), grid.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        {"crop_pct": 0.875, "interpolation": "bilinear"},
        {
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "mean": (0.4, 0.5, 0.6),
            "std": (0.2, 0.3, 0.4),
        },
        {"crop_pct": 0.9, "crop_mode": "squash"},
        {"crop_pct": 1.0, "crop_mode": "border"},
        {"crop_pct": 0.8, "crop_mode": "border"},
    ],
)
@pytest.mark.parametrize("size", [(300, 200), (201, 347), (57, 33), (160, 160)])
def test_preprocessing_equals_the_library(config: dict[str, Any], size: tuple[int, int]) -> None:
    data_config = {**timm.data.resolve_data_config({"input_size": (3, 96, 96)}), **config}
    image = photo(*size)
    expected = timm.data.create_transform(**data_config, is_training=False)(image).numpy()
    transform = image_transform("timm:x", data_config, Settings())
    actual = transform.to_tensor([transform.decode(image_bytes(image))])[0].numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("output", ["pooled", "tokens"])
def test_vectors_do_not_depend_on_the_batch(model: str, output: str, folder: Path) -> None:
    encoder = load(f"{model}/{folder}/{model}.safetensors", output=output)
    assert_batch_independent(encoder, FILES)
    assert len(encoder.encode([])) == 0


@pytest.mark.parametrize("model", MODELS)
def test_excess_tokens_are_averaged(model: str, folder: Path) -> None:
    name = f"{model}/{folder}/{model}.safetensors"
    all_tokens = encode_all(load(name, output="tokens", max_tokens="999"), FILES)
    few = load(name, output="tokens", max_tokens="5")
    prefix = len(all_tokens[0]) % 5  # the ViT has 101 tokens with a class token, the CNN 25
    assert few.max_tokens == 5
    for many, few_tokens in zip(all_tokens, encode_all(few, FILES), strict=True):
        assert few_tokens.shape == (4 + prefix, few.dim)
        np.testing.assert_array_equal(few_tokens[:prefix], many[:prefix])
        if prefix:  # the side of the grid is even, so the mean is the same
            np.testing.assert_allclose(few_tokens[1:].mean(0), many[1:].mean(0), atol=1e-5)


def test_tokens_that_are_not_a_square() -> None:
    assert limit_grid_tokens(torch.zeros(1, 6, 4), 6, prefix=0).shape == (1, 6, 4)
    with pytest.raises(MmfeatError, match="max_tokens"):
        limit_grid_tokens(torch.zeros(1, 6, 4), 5, prefix=0)


def test_copy_has_the_same_identity(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other.pth"
    torch.save({"state_dict": create_model("test_vit", num_classes=7).state_dict()}, copy)
    one = load(f"test_vit/{folder}/test_vit.safetensors").identity()
    assert load(f"test_vit/{copy}").identity() == one
    assert json.loads(json.dumps(one)) is not None
    assert str(folder) not in json.dumps(one)
    torch.save(create_model("test_vit", seed=1, num_classes=7).state_dict(), copy)
    assert load(f"test_vit/{copy}").identity() != one
    name = f"test_vit/{folder}/test_vit.safetensors"
    assert load(name, output="tokens").identity() != one
    assert load(name, precision="bfloat16").identity() != one


@pytest.mark.parametrize("model", MODELS)
def test_cast_weights_are_those_of_loading(model: str, folder: Path) -> None:
    name = f"{model}/{folder}/{model}.safetensors"
    exact, half = (load(name, precision=p) for p in ("float32", "bfloat16"))
    assert_cast_equals_loading(exact, half, FILES)


def test_invalid_image_is_a_record_error(folder: Path) -> None:
    with pytest.raises(RecordError):
        load(f"test_vit/{folder}/test_vit.safetensors").decode(b"no image")


def test_weights_that_do_not_fit_are_errors(folder: Path, tmp_path: Path) -> None:
    state = create_model("test_vit", num_classes=7).state_dict()
    files = {
        "less": {name: value for name, value in state.items() if name != "norm.weight"},
        "more": {**state, "extra.weight": torch.zeros(1)},
        "other": create_model("test_resnet").state_dict(),
    }
    for name, values in files.items():
        save_file(values, tmp_path / f"{name}.safetensors")
    for name, message in (("less", "lacks"), ("more", "unexpected"), ("other", "lacks")):
        with assert_one_line_error(message):
            load(f"test_vit/{tmp_path}/{name}.safetensors")


def test_malicious_pickle_is_an_error(tmp_path: Path) -> None:
    torch.save({"x": MaliciousPickle()}, tmp_path / "malicious.pth")
    with pytest.raises(MmfeatError, match="cannot be loaded") as caught:
        load(f"test_vit/{tmp_path}/malicious.pth")
    assert "ZeroDivisionError" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("no_such_net", "a model of timm"), ("test_vit/nowhere.safetensors", "file of weights")],
)
def test_unknown_model_or_file_is_an_error(name: str, message: str) -> None:
    with pytest.raises(MmfeatError, match=message):
        load(name)


def test_other_modalities_are_errors() -> None:
    with pytest.raises(MmfeatError, match="encodes image"):
        load("test_vit", "text")
