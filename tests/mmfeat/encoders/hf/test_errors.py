"""Errors of `hf:`: wrong flags, broken checkpoints, and code in a checkpoint."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmfeat.encoders import EncoderSpec
from mmfeat.errors import MmfeatError
from tests.mmfeat.encoders.hf.checkpoints import transformers
from tests.mmfeat.errors import assert_one_line_error


@pytest.mark.parametrize(
    ("name", "modality", "message"),
    [
        ("bert", "image", "encodes text; got 'image'"),
        ("vit", "text", "encodes image; got 'text'"),
        ("whisper", "image", "encodes audio"),
        ("clip", "audio", "encodes image and text"),
        ("vit?output=projected", "image", "one of pooled, tokens; got 'projected'"),
        ("bert?pooling=max", "text", "one of mean, cls, pooler"),
        ("roberta?pooling=pooler", "text", "has no pooler"),
        ("clip?pooling=mean", "text", "no such option"),
        ("clip?max_tokens=5", "image", "no such option"),
    ],
)
def test_wrong_flag_is_one_line(
    load: Callable[..., Any], name: str, modality: str, message: str
) -> None:
    with assert_one_line_error(message):
        load(name, modality)


def damages(path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "cannot be loaded", (path / "model.safetensors").unlink
    yield "cannot be loaded", lambda: (path / "model.safetensors").write_bytes(b"\x09garbage")
    yield "cannot be loaded", (path / "config.json").unlink
    yield "preprocessor|cannot be loaded", (path / "preprocessor_config.json").unlink


@pytest.mark.parametrize("number", range(4))
def test_broken_checkpoint_is_one_line(
    load: Callable[..., Any], copied: Callable[..., Path], number: int
) -> None:
    path = copied("dino")
    message, damage = list(damages(path))[number]
    damage()
    with assert_one_line_error(message):
        load(path, "image")


@pytest.mark.parametrize(
    ("name", "part"),
    [("dino", "mlp.fc1.weight"), ("vit", "attention"), ("clip", "vision_model.encoder")],
)
def test_missing_weights_are_an_error(
    load: Callable[..., Any], copied: Callable[..., Path], name: str, part: str
) -> None:
    path = copied(name)
    weights = load_file(path / "model.safetensors")
    missing = next(name for name in weights if part in name)
    del weights[missing]
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(MmfeatError, match="lacks weights"):
        load(path, "image")


@pytest.mark.parametrize(
    "name",
    ["../outside.safetensors", "a/../../outside.safetensors", "/outside.safetensors", "x.bin"],
)
def test_an_index_of_weights_names_files_of_its_folder(
    load: Callable[..., Any], copied: Callable[..., Path], name: str
) -> None:
    path = copied("bert")
    weights = load_file(path / "model.safetensors")
    (path / "model.safetensors").rename(path / "part.safetensors")
    save_file(weights, path.parent / "outside.safetensors", {"format": "pt"})
    index = path / "model.safetensors.index.json"

    def write_index(first: str) -> None:
        names = dict.fromkeys(weights, "part.safetensors") | {next(iter(weights)): first}
        index.write_text(json.dumps({"metadata": {}, "weight_map": names}))

    write_index("part.safetensors")
    load(path, "text")
    write_index(name)
    with assert_one_line_error("must name .safetensors files in its folder"):
        load(path, "text")


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "a/b/c"])
def test_missing_folder_is_an_error(name: str) -> None:
    with pytest.raises(MmfeatError, match="on the hub or a directory"):
        EncoderSpec.parse(f"image=hf:{name}").load()


def test_pickled_weights_are_an_error(
    load: Callable[..., Any], copied: Callable[..., Path]
) -> None:
    path = copied("dino")
    model = transformers.AutoModel.from_pretrained(path)
    torch.save(model.state_dict(), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    with pytest.raises(MmfeatError, match="cannot be loaded"):
        load(path, "image")


def test_code_of_a_checkpoint_does_not_run(
    load: Callable[..., Any], copied: Callable[..., Path], tmp_path: Path
) -> None:
    changed = {"model_type": "own", "auto_map": {"AutoConfig": "c.C", "AutoModel": "c.M"}}
    path = copied("dino", "config.json", **changed)
    (path / "c.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(MmfeatError, match="--trust-remote-code"):
        load(path, "image")
    assert not (tmp_path / "ran").exists()
