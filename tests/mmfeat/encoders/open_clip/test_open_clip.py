"""`open_clip:` gives what the library gives, on tiny models of random weights."""

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
from mmfeat.encoders.open_clip import image as scheme
from mmfeat.encoders.open_clip.image import _picture
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError, RecordError
from tests.mmfeat.encoders.checks import Rogue, assert_alone_as_together, features, load_by
from tests.mmfeat.refusals import told_in_one_line
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
    """Of each architecture its configuration and weights."""
    folder = tmp_path_factory.mktemp("clip")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"{name}.json")
        save_file(whole_model(name).state_dict(), folder / f"{name}.safetensors")
    return folder


def whole_model(name: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model = open_clip.create_model(name).eval()
    if getattr(model, "text_projection", None) is not None:
        # As it is made up, positions hardly count.
        model.positional_embedding.data.mul_(20)
    return model


def load(folder: Path, name: str, modality: str, **values: str) -> Encoder:
    return named(f"{name}/{folder}/{name}.safetensors", modality, **values)


def named(name: str, modality: str, **values: str) -> Encoder:
    return load_by(scheme, name, modality, **values)


FILES = [image_bytes(photo(*size)) for size in ((300, 200), (32, 32), (90, 201))]
MEMBERS = {"image": FILES, "text": [text.encode() for text in TEXTS]}


def texts(encoder: Encoder) -> np.ndarray:
    return np.stack(features(encoder, MEMBERS["text"]))


def transformed(model: Any) -> torch.Tensor:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = open_clip.get_model_preprocess_cfg(model)
    transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
    return torch.stack([transform(Image.open(io.BytesIO(file))) for file in FILES])


@pytest.mark.parametrize("name", CONFIGS)
def test_vectors_are_those_of_the_library(folder: Path, name: str) -> None:
    model = whole_model(name)
    with torch.inference_mode():
        images = model.encode_image(transformed(model)).numpy()
        words = model.encode_text(open_clip.get_tokenizer(name)(TEXTS)).numpy()
    ours = load(folder, name, "image")
    np.testing.assert_allclose(np.stack(features(ours, FILES)), images, atol=1e-5)
    assert ours.dim == 24
    np.testing.assert_allclose(texts(load(folder, name, "text")), words, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "tinycustom", "tinyeos", "tinywhole"])
def test_only_causal_texts_end_at_their_end(folder: Path, name: str) -> None:
    encoder = load(folder, name, "text")
    lengths = [encoder.length(encoder.decode(member)) for member in MEMBERS["text"]]
    assert max(lengths) == 77
    assert min(lengths) == (77 if name == "tinywhole" else 3)


@pytest.mark.parametrize("name", ["tiny", "tinywhole"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_vector_does_not_depend_on_its_batch(folder: Path, name: str, modality: str) -> None:
    encoder = load(folder, name, modality)
    assert_alone_as_together(encoder, MEMBERS[modality])
    assert np.shape(encoder.encode([])) == (0, 24)


@pytest.mark.parametrize("name", ["tiny", "tinycustom"])
def test_pooled_is_what_is_projected(folder: Path, name: str) -> None:
    model = whole_model(name)
    state = model.state_dict()
    for modality, key in (("image", "visual.proj"), ("text", "text_projection")):
        members = MEMBERS[modality]
        pooled = np.stack(features(load(folder, name, modality, output="pooled"), members))
        matrix = next(value for found, value in state.items() if found.endswith(key)).numpy()
        projected = np.stack(features(load(folder, name, modality), members))
        np.testing.assert_allclose(pooled @ matrix, projected, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "tinycustom", "tinyeos"])
def test_tokens_of_a_text_end_with_the_one_that_is_pooled(folder: Path, name: str) -> None:
    members = MEMBERS["text"]
    encoder = load(folder, name, "text", output="tokens", max_tokens="77")
    pooled = features(load(folder, name, "text", output="pooled"), members)
    for member, tokens, vector in zip(members, features(encoder, members), pooled, strict=True):
        assert tokens.shape == (encoder.length(encoder.decode(member)), 32)
        np.testing.assert_allclose(tokens[-1], vector, atol=1e-5)
    few = load(folder, name, "text", output="tokens", max_tokens="2")
    assert {len(tokens) for tokens in features(few, members)} == {2}


@pytest.mark.parametrize(("name", "tokens", "dim"), [("tiny", 16, 64), ("tinytimm", 101, 64)])
def test_tokens_of_a_picture_are_its_patches(
    folder: Path, name: str, tokens: int, dim: int
) -> None:
    encoder = load(folder, name, "image", output="tokens", max_tokens="128")
    assert {vectors.shape for vectors in features(encoder, FILES)} == {(tokens, dim)}
    few = load(folder, name, "image", output="tokens", max_tokens="5")
    assert {len(vectors) for vectors in features(few, FILES)} == {4 + tokens % 2}


@pytest.mark.parametrize(
    ("name", "modality", "output"),
    [
        ("tinyresnet", "image", "pooled"),
        ("tinyresnet", "image", "tokens"),
        ("tinywhole", "text", "tokens"),
        ("tinywhole", "text", "pooled"),
    ],
)
def test_an_output_that_there_is_not_is_refused(
    folder: Path, name: str, modality: str, output: str
) -> None:
    with pytest.raises(MmfeatError, match=f"has no output {output}"):
        load(folder, name, modality, output=output)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(300, 200), (201, 347), (57, 33), (64, 64)])
def test_pictures_are_prepared_as_the_library_does(
    mode: str, interpolation: str, size: tuple[int, int]
) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = PreprocessCfg(size=64, resize_mode=mode, interpolation=interpolation, fill_color=9)
    image = photo(*size)
    theirs = image_transform_v2(config, is_train=False)(image).numpy()
    picture = _picture("open_clip:x", vars(config), Settings())
    ours = picture.batch([picture.decode(image_bytes(image))])[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_directory_brings_weights_and_configuration(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "tiny.safetensors", tmp_path / "open_clip_model.safetensors")
    config = {"model_cfg": TINY, "preprocess_cfg": {"resize_mode": "squash", "size": 32}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    np.testing.assert_allclose(
        texts(named(f"local-dir:{tmp_path}", "text")), texts(load(folder, "tiny", "text"))
    )
    image = named(f"local-dir:{tmp_path}", "image").identity()
    assert image["preprocessing"]["mode"] == "squash"
    (tmp_path / "open_clip_model.safetensors").unlink()
    with pytest.raises(MmfeatError, match="cannot be loaded"):
        named(f"local-dir:{tmp_path}", "image")


def test_a_configuration_of_ones_own_is_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(TINY))
    name = f"mine/{folder}/tiny.safetensors"
    own = named(name, "text", config=str(tmp_path / "mine.json"))
    np.testing.assert_array_equal(texts(own), texts(load(folder, "tiny", "text")))


@pytest.mark.parametrize("modality", ["image", "text"])
def test_the_same_weights_elsewhere_have_the_same_identity(
    folder: Path, tmp_path: Path, modality: str
) -> None:
    one = load(folder, "tiny", modality).identity()
    torch.save({"state_dict": whole_model("tiny").state_dict()}, tmp_path / "copy.pt")
    assert named(f"tiny/{tmp_path}/copy.pt", modality).identity() == one
    assert str(folder) not in json.dumps(one)
    others = [
        load(folder, "tiny", modality, output="tokens").identity(),
        load(folder, "tiny", modality, precision="bfloat16").identity(),
        # the same weights under another activation
        named(f"tinylegacy/{folder}/tiny.safetensors", modality).identity(),
    ]
    assert one not in others
    torch.save(whole_model("tiny", seed=1).state_dict(), tmp_path / "copy.pt")
    assert named(f"tiny/{tmp_path}/copy.pt", modality).identity() != one


def test_what_cannot_be_loaded_is_told_in_one_line(folder: Path, tmp_path: Path) -> None:
    torch.save({"x": Rogue()}, tmp_path / "rogue.pt")
    wrong = {
        "ViT-B-32/": "must name weights.*laion2b",
        "ViT-B/32": "must name weights",
        "ViT-B-32/nowhere.pt": "must name weights",
        "tiny/": "There is no tag",
        "no-such-arch/openai": "an architecture",
        f"tiny/{tmp_path}/rogue.pt": "cannot be loaded",
        f"tiny/{folder}/tinyresnet.safetensors": "cannot be loaded",
        f"local-dir:{tmp_path}/nowhere": "cannot be loaded",
    }
    for name, message in wrong.items():
        with told_in_one_line(message) as caught:
            named(name, "image")
        assert "ZeroDivisionError" not in str(caught.value)


def test_what_cannot_be_used_is_refused(folder: Path) -> None:
    with pytest.raises(MmfeatError, match="encodes image and text"):
        load(folder, "tiny", "audio")
    with pytest.raises(RecordError, match="empty"):
        load(folder, "tiny", "text").decode(b" \n")
    with pytest.raises(RecordError, match="undecodable"):
        load(folder, "tiny", "image").decode(b"no picture")
