"""The identity of `hf:` encoders: weights, settings, and the revision on the hub."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmfeat.encoders import EncoderSpec, Settings, fingerprint
from tests.mmfeat.encoders.checks import assert_cast_equals_loading, cosine, encode_all
from tests.mmfeat.encoders.hf.checkpoints import transformers
from tests.mmfeat.errors import assert_one_line_error
from tests.mmfeat.samples import drawing, image_bytes


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("clip", "image"),
        ("bert", "text"),
        ("clip", "text"),
        ("clap", "audio"),
        ("whisper", "audio"),
        ("hubert", "audio"),
    ],
)
def test_copy_has_the_same_identity_other_weights_do_not(
    load: Callable[..., Any],
    models: Callable[[str], Path],
    copied: Callable[..., Path],
    name: str,
    modality: str,
) -> None:
    identity = load(name, modality).identity()
    assert json.loads(json.dumps(identity)) == identity
    assert str(models(name)) not in json.dumps(identity)
    assert {"scheme", "weights", "output", "max_tokens", "precision", "versions"} <= set(identity)
    path = copied(name)
    assert fingerprint(load(path, modality).identity()) == fingerprint(identity)
    weights = path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    for offset in range(8 + int.from_bytes(data[:8], "little"), len(data), 400):
        data[offset] ^= 1
    weights.write_bytes(data)
    assert fingerprint(load(path, modality).identity()) != fingerprint(identity)


def test_identity_depends_on_what_changes_values(load: Callable[..., Any]) -> None:
    encoders = [
        load("clip", "image"),
        load("clip", "text"),
        load("clip?output=pooled", "image"),
        load("clip?output=tokens", "image"),
        load("clip?output=tokens&max_tokens=9", "image"),
        load("clip", "image", reduced_decoding=False),
        load("clip", "image", precision="bfloat16"),
        load("bert?pooling=mean", "text"),
        load("bert?pooling=cls", "text"),
    ]
    assert len({fingerprint(encoder.identity()) for encoder in encoders}) == len(encoders)


def test_identity_depends_on_the_config(
    load: Callable[..., Any], copied: Callable[..., Path]
) -> None:
    other = load(copied("vit", "config.json", num_attention_heads=4), "image")
    assert fingerprint(other.identity()) != fingerprint(load("vit", "image").identity())


def test_bfloat16_is_close(load: Callable[..., Any]) -> None:
    exact, half = (load("clip", "image", precision=p) for p in ("float32", "bfloat16"))
    (one,), (other,) = (encode_all(encoder, [image_bytes(drawing())]) for encoder in (exact, half))
    assert other.dtype == np.float32
    assert cosine(one, other) > 0.99


@pytest.mark.parametrize("query", ["clip", "vit", "resnet", "clip?output=tokens"])
def test_cast_weights_are_those_of_loading(load: Callable[..., Any], query: str) -> None:
    exact, half = (load(query, "image", precision=p) for p in ("float32", "bfloat16"))
    assert_cast_equals_loading(exact, half, [image_bytes(drawing())])


@pytest.mark.parametrize("query", ["clip", "bert", "siglip"])
def test_cast_weights_of_texts_are_those_of_loading(load: Callable[..., Any], query: str) -> None:
    exact, half = (load(query, "text", precision=p) for p in ("float32", "bfloat16"))
    assert_cast_equals_loading(exact, half, [b"a red lamp", b"two boats on the road"])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, Path], str]:
    """Return a function that adds a checkpoint to the offline cache and returns its commit."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub = transformers.utils.hub  # transformers 4 has its own constant
    monkeypatch.setattr(hub, "TRANSFORMERS_CACHE", str(tmp_path / "cache"), raising=False)

    def add(name: str, path: Path) -> str:
        folder = tmp_path / "cache" / f"models--{name.replace('/', '--')}"
        commit = "0123456789" * 4
        shutil.copytree(path, folder / "snapshots" / commit)
        (folder / "refs").mkdir()
        for reference in ("main", "v1"):
            (folder / "refs" / reference).write_text(commit)
        return commit

    return add


def test_name_and_revision_on_the_hub(
    models: Callable[[str], Path], hub: Callable[[str, Path], str]
) -> None:
    commit = hub("some/model", models("clip"))
    for revision in ("", "@v1", f"@{commit}"):
        spec = EncoderSpec.parse(f"image=hf:some/model{revision}")
        identity = spec.load(Settings(device="cpu")).identity()
        assert (identity["name"], identity["revision"]) == ("some/model", commit)
    for missing in ("some/model@v2", "some/other", "some/model@../x", "not a name"):
        with assert_one_line_error("cannot be loaded"):
            EncoderSpec.parse(f"image=hf:{missing}").load()
