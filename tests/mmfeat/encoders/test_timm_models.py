"""`timm:` gives what the library gives, on its smallest models."""

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
from mmfeat.encoders import timm_models as scheme
from mmfeat.encoders.settings import Settings
from mmfeat.encoders.timm_models import _picture
from mmfeat.encoders.vision import grid_tokens
from mmfeat.errors import MmfeatError, RecordError
from tests.mmfeat.encoders.checks import Rogue, assert_alone_as_together, features, load_by
from tests.mmfeat.refusals import told_in_one_line
from tests.mmfeat.samples import image_bytes, photo

timm = pytest.importorskip("timm")

MODELS = ("test_resnet", "test_vit")


def load(name: str, modality: str = "image", **values: str) -> Encoder:
    return load_by(scheme, name, modality, **values)


def made(model: str, seed: int = 0, **arguments: Any) -> Any:
    torch.manual_seed(seed)
    return timm.create_model(model, pretrained=False, **arguments).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of each model, with their classifier."""
    folder = tmp_path_factory.mktemp("weights")
    for model in MODELS:
        save_file(made(model, num_classes=7).state_dict(), folder / f"{model}.safetensors")
    return folder


FILES = [image_bytes(photo(*size)) for size in ((300, 200), (160, 160), (90, 201))]


def transformed(model: Any) -> torch.Tensor:
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    return torch.stack([transform(Image.open(io.BytesIO(file))) for file in FILES])


@pytest.mark.parametrize("model", MODELS)
def test_vectors_are_those_of_the_library(model: str, folder: Path) -> None:
    theirs = made(model, num_classes=0)
    state = timm.models.load_state_dict(str(folder / f"{model}.safetensors"))
    theirs.load_state_dict(state, strict=False)
    with torch.inference_mode():
        expected = theirs(transformed(theirs)).numpy()
        grid = theirs.forward_features(transformed(theirs))
    ours = load(f"{model}/{folder}/{model}.safetensors")
    assert ours.dim == expected.shape[1]
    np.testing.assert_allclose(np.stack(features(ours, FILES)), expected, atol=1e-4)
    tokens = load(f"{model}/{folder}/{model}.safetensors", output="tokens", max_tokens="256")
    grid = grid.flatten(2).mT if grid.ndim == 4 else grid
    np.testing.assert_allclose(np.stack(features(tokens, FILES)), grid.numpy(), atol=1e-4)


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
def test_pictures_are_prepared_as_the_library_does(
    config: dict[str, Any], size: tuple[int, int]
) -> None:
    whole = {**timm.data.resolve_data_config({"input_size": (3, 96, 96)}), **config}
    image = photo(*size)
    theirs = timm.data.create_transform(**whole, is_training=False)(image).numpy()
    picture = _picture("timm:x", whole, Settings())
    ours = picture.batch([picture.decode(image_bytes(image))])[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("output", ["pooled", "tokens"])
def test_a_vector_does_not_depend_on_its_batch(model: str, output: str, folder: Path) -> None:
    encoder = load(f"{model}/{folder}/{model}.safetensors", output=output)
    assert_alone_as_together(encoder, FILES)
    assert len(encoder.encode([])) == 0


@pytest.mark.parametrize("model", MODELS)
def test_more_tokens_than_wanted_are_averaged(model: str, folder: Path) -> None:
    name = f"{model}/{folder}/{model}.safetensors"
    whole = features(load(name, output="tokens", max_tokens="999"), FILES)
    few = load(name, output="tokens", max_tokens="5")
    first = len(whole[0]) % 5  # of 101 and 25 tokens one and none stand for the whole picture
    assert few.max_tokens == 5
    for many, some in zip(whole, features(few, FILES), strict=True):
        assert some.shape == (4 + first, few.dim)
        np.testing.assert_array_equal(some[:first], many[:first])
        if first:  # a grid of even sides
            np.testing.assert_allclose(some[1:].mean(0), many[1:].mean(0), atol=1e-5)


def test_a_grid_that_is_no_square_is_kept_or_refused() -> None:
    assert grid_tokens(torch.zeros(1, 6, 4), 0, 6).shape == (1, 6, 4)
    with pytest.raises(MmfeatError, match="max_tokens"):
        grid_tokens(torch.zeros(1, 6, 4), 0, 5)


def test_the_same_weights_elsewhere_have_the_same_identity(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other.pth"
    torch.save({"state_dict": made("test_vit", num_classes=7).state_dict()}, copy)
    one = load(f"test_vit/{folder}/test_vit.safetensors").identity()
    assert load(f"test_vit/{copy}").identity() == one
    assert json.loads(json.dumps(one)) is not None
    assert str(folder) not in json.dumps(one)
    torch.save(made("test_vit", seed=1, num_classes=7).state_dict(), copy)
    assert load(f"test_vit/{copy}").identity() != one
    name = f"test_vit/{folder}/test_vit.safetensors"
    assert load(name, output="tokens").identity() != one
    assert load(name, precision="bfloat16").identity() != one


def test_what_is_no_picture_is_a_bad_record(folder: Path) -> None:
    with pytest.raises(RecordError):
        load(f"test_vit/{folder}/test_vit.safetensors").decode(b"no picture")


def test_weights_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    state = made("test_vit", num_classes=7).state_dict()
    files = {
        "less": {name: value for name, value in state.items() if name != "norm.weight"},
        "more": {**state, "extra.weight": torch.zeros(1)},
        "other": made("test_resnet").state_dict(),
    }
    for name, values in files.items():
        save_file(values, tmp_path / f"{name}.safetensors")
    for name, message in (("less", "lacks"), ("more", "too many"), ("other", "lacks")):
        with told_in_one_line(message):
            load(f"test_vit/{tmp_path}/{name}.safetensors")


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save({"x": Rogue()}, tmp_path / "rogue.pth")
    with pytest.raises(MmfeatError, match="cannot be loaded") as caught:
        load(f"test_vit/{tmp_path}/rogue.pth")
    assert "ZeroDivisionError" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("no_such_net", "a model of timm"), ("test_vit/nowhere.safetensors", "file of weights")],
)
def test_what_there_is_not_is_told(name: str, message: str) -> None:
    with pytest.raises(MmfeatError, match=message):
        load(name)


def test_other_modalities_are_refused() -> None:
    with pytest.raises(MmfeatError, match="encodes image"):
        load("test_vit", "text")
