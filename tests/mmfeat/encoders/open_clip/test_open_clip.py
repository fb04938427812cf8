"""`open_clip:` equals open_clip, on tiny models with random weights."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mmfeat.encoders import Encoder
from mmfeat.encoders.open_clip import load as scheme
from mmfeat.encoders.open_clip.image import image_transform
from mmfeat.encoders.settings import Settings
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

open_clip = pytest.importorskip("open_clip")

VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
TINY = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}
CONFIGS = {
    "tiny": TINY,
    "tinycustom": {**TINY, "custom_text": True},
    "tinylegacy": {**TINY, "quick_gelu": True},
    "tinywhole": {
        **TINY,
        "custom_text": True,
        "text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    },
    "tinyeos": {**TINY, "text_cfg": {**TEXT, "pool_type": "eos", "eos_id": 49407}},
    "tinyresnet": {**TINY, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}},
    "tinytimm": {
        **TINY,
        "custom_text": True,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "", "image_size": 160},
    },
}
TEXTS = [
    "red apple",
    "A",
    "running shoes for women " * 30,
    "红烧肉很好吃",
    "naïve café &amp; 12.5 €",
    "an <end_of_text> within",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the config and weights of each architecture."""
    folder = tmp_path_factory.mktemp("clip")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"{name}.json")
        save_file(create_model(name).state_dict(), folder / f"{name}.safetensors")
    return folder


def create_model(name: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model = open_clip.create_model(name).eval()
    if getattr(model, "text_projection", None) is not None:
        # Initial positions are so small that they hardly change a feature.
        model.positional_embedding.data.mul_(20)
    return model


def load(folder: Path, name: str, modality: str, **values: str) -> Encoder:
    return load_name(f"{name}/{folder}/{name}.safetensors", modality, **values)


def load_name(name: str, modality: str, **values: str) -> Encoder:
    return load_encoder(scheme, name, modality, **values)


FILES = [image_bytes(photo(*size)) for size in ((300, 200), (32, 32), (90, 201))]
MEMBERS = {"image": FILES, "text": [text.encode() for text in TEXTS]}


def texts(encoder: Encoder) -> np.ndarray:
    return np.stack(encode_all(encoder, MEMBERS["text"]))


def transformed(model: Any) -> torch.Tensor:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = open_clip.get_model_preprocess_cfg(model)
    transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
    return torch.stack([transform(Image.open(io.BytesIO(file))) for file in FILES])


@pytest.mark.parametrize("name", CONFIGS)
def test_vectors_equal_the_library(folder: Path, name: str) -> None:
    model = create_model(name)
    with torch.inference_mode():
        images = model.encode_image(transformed(model)).numpy()
        words = model.encode_text(open_clip.get_tokenizer(name)(TEXTS)).numpy()
    encoder = load(folder, name, "image")
    np.testing.assert_allclose(np.stack(encode_all(encoder, FILES)), images, atol=1e-5)
    assert encoder.dim == 24
    np.testing.assert_allclose(texts(load(folder, name, "text")), words, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "tinycustom", "tinyeos", "tinywhole"])
def test_causal_texts_end_at_the_end_token(folder: Path, name: str) -> None:
    encoder = load(folder, name, "text")
    lengths = [encoder.length(encoder.decode(member)) for member in MEMBERS["text"]]
    assert max(lengths) == 77
    assert min(lengths) == (77 if name == "tinywhole" else 3)


@pytest.mark.parametrize("name", ["tiny", "tinywhole"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_vectors_do_not_depend_on_the_batch(folder: Path, name: str, modality: str) -> None:
    encoder = load(folder, name, modality)
    assert_batch_independent(encoder, MEMBERS[modality])
    assert np.shape(encoder.encode([])) == (0, 24)


@pytest.mark.parametrize("name", ["tiny", "tinywhole", "tinycustom"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_cast_weights_are_those_of_loading(folder: Path, name: str, modality: str) -> None:
    exact, half = (load(folder, name, modality, precision=p) for p in ("float32", "bfloat16"))
    assert_cast_equals_loading(exact, half, MEMBERS[modality])


@pytest.mark.parametrize("name", ["tiny", "tinycustom"])
def test_pooled_is_the_input_of_the_projection(folder: Path, name: str) -> None:
    model = create_model(name)
    state = model.state_dict()
    for modality, key in (("image", "visual.proj"), ("text", "text_projection")):
        members = MEMBERS[modality]
        pooled = np.stack(encode_all(load(folder, name, modality, output="pooled"), members))
        matrix = next(value for weight, value in state.items() if weight.endswith(key)).numpy()
        projected = np.stack(encode_all(load(folder, name, modality), members))
        np.testing.assert_allclose(pooled @ matrix, projected, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "tinycustom", "tinyeos"])
def test_last_text_token_is_the_pooled_one(folder: Path, name: str) -> None:
    members = MEMBERS["text"]
    encoder = load(folder, name, "text", output="tokens", max_tokens="77")
    pooled = encode_all(load(folder, name, "text", output="pooled"), members)
    for member, tokens, vector in zip(members, encode_all(encoder, members), pooled, strict=True):
        assert tokens.shape == (encoder.length(encoder.decode(member)), 32)
        np.testing.assert_allclose(tokens[-1], vector, atol=1e-5)
    few = load(folder, name, "text", output="tokens", max_tokens="2")
    assert {len(tokens) for tokens in encode_all(few, members)} == {2}


@pytest.mark.parametrize(("name", "tokens", "dim"), [("tiny", 16, 64), ("tinytimm", 101, 64)])
def test_image_tokens_are_patches(folder: Path, name: str, tokens: int, dim: int) -> None:
    encoder = load(folder, name, "image", output="tokens", max_tokens="128")
    assert {vectors.shape for vectors in encode_all(encoder, FILES)} == {(tokens, dim)}
    few = load(folder, name, "image", output="tokens", max_tokens="5")
    assert {len(vectors) for vectors in encode_all(few, FILES)} == {4 + tokens % 2}


@pytest.mark.parametrize(
    ("name", "modality", "output"),
    [
        ("tinyresnet", "image", "pooled"),
        ("tinyresnet", "image", "tokens"),
        ("tinywhole", "text", "tokens"),
        ("tinywhole", "text", "pooled"),
    ],
)
def test_missing_output_is_an_error(folder: Path, name: str, modality: str, output: str) -> None:
    with pytest.raises(MmfeatError, match=f"has no output {output}"):
        load(folder, name, modality, output=output)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(300, 200), (201, 347), (57, 33), (64, 64)])
def test_preprocessing_equals_the_library(
    mode: str, interpolation: str, size: tuple[int, int]
) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = PreprocessCfg(size=64, resize_mode=mode, interpolation=interpolation, fill_color=9)
    image = photo(*size)
    expected = image_transform_v2(config, is_train=False)(image).numpy()
    transform = image_transform("open_clip:x", vars(config), Settings())
    actual = transform.to_tensor([transform.decode(image_bytes(image))])[0].numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_directory_has_weights_and_config(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "tiny.safetensors", tmp_path / "open_clip_model.safetensors")
    config = {"model_cfg": TINY, "preprocess_cfg": {"resize_mode": "squash", "size": 32}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    np.testing.assert_allclose(
        texts(load_name(f"local-dir:{tmp_path}", "text")), texts(load(folder, "tiny", "text"))
    )
    image = load_name(f"local-dir:{tmp_path}", "image").identity()
    assert image["preprocessing"]["mode"] == "squash"
    (tmp_path / "open_clip_model.safetensors").unlink()
    with pytest.raises(MmfeatError, match="cannot be loaded"):
        load_name(f"local-dir:{tmp_path}", "image")


def test_config_option_adds_an_architecture(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(TINY))
    name = f"mine/{folder}/tiny.safetensors"
    own = load_name(name, "text", config=str(tmp_path / "mine.json"))
    np.testing.assert_array_equal(texts(own), texts(load(folder, "tiny", "text")))


@pytest.mark.parametrize("modality", ["image", "text"])
def test_copy_has_the_same_identity(folder: Path, tmp_path: Path, modality: str) -> None:
    one = load(folder, "tiny", modality).identity()
    torch.save({"state_dict": create_model("tiny").state_dict()}, tmp_path / "copy.pt")
    assert load_name(f"tiny/{tmp_path}/copy.pt", modality).identity() == one
    assert str(folder) not in json.dumps(one)
    others = [
        load(folder, "tiny", modality, output="tokens").identity(),
        load(folder, "tiny", modality, precision="bfloat16").identity(),
        # same weights, another activation
        load_name(f"tinylegacy/{folder}/tiny.safetensors", modality).identity(),
    ]
    assert one not in others
    torch.save(create_model("tiny", seed=1).state_dict(), tmp_path / "copy.pt")
    assert load_name(f"tiny/{tmp_path}/copy.pt", modality).identity() != one


def test_loading_error_is_one_line(folder: Path, tmp_path: Path) -> None:
    torch.save({"x": MaliciousPickle()}, tmp_path / "malicious.pt")
    messages = {
        "ViT-B-32/": "must name weights.*laion2b",
        "ViT-B/32": "must name weights",
        "ViT-B-32/nowhere.pt": "must name weights",
        "tiny/": "It has no tags",
        "no-such-arch/openai": "an architecture",
        f"tiny/{tmp_path}/malicious.pt": "cannot be loaded",
        f"tiny/{folder}/tinyresnet.safetensors": "cannot be loaded",
        f"local-dir:{tmp_path}/nowhere": "cannot be loaded",
    }
    for name, message in messages.items():
        with assert_one_line_error(message) as caught:
            load_name(name, "image")
        assert "ZeroDivisionError" not in str(caught.value)


def test_unusable_input_is_an_error(folder: Path) -> None:
    with pytest.raises(MmfeatError, match="encodes image and text"):
        load(folder, "tiny", "audio")
    with pytest.raises(RecordError, match="empty"):
        load(folder, "tiny", "text").decode(b" \n")
    with pytest.raises(RecordError, match="undecodable"):
        load(folder, "tiny", "image").decode(b"no image")
