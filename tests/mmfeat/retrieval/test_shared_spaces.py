"""Texts and images find records of the other modality, in the space of CLIP or of an alignment."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

import mmfeat
from mmfeat.errors import MmfeatError

VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


@pytest.fixture
def checkpoint(tmp_path):
    """A tiny CLIP with random weights; returns its name for --encoder."""
    open_clip = pytest.importorskip("open_clip")
    config = tmp_path / "tinysearch.json"
    config.write_text(json.dumps({"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}))
    open_clip.add_model_config(config)
    for seed in range(2):
        torch.manual_seed(seed)
        model = open_clip.create_model("tinysearch").eval()
        save_file(model.state_dict(), tmp_path / f"{seed}.safetensors")
    return lambda seed: f"open_clip:tinysearch/{tmp_path}/{seed}.safetensors?config={config}"


@pytest.fixture
def shards(toy_table, tmp_path):
    return mmfeat.shard(toy_table, tmp_path / "shards")


@pytest.mark.slow
def test_a_text_finds_images_by_the_other_tower_of_the_checkpoint(
    shards, checkpoint, toy_table, tmp_path
):
    import open_clip

    encoders = {"image": checkpoint(0), "text": checkpoint(0)}
    features = mmfeat.extract(shards, tmp_path / "features", encoder=encoders)
    text = "a small cat sleeps number 7"
    table = features.to_arrow(["feature_image"])
    images = np.array(table["feature_image"].to_pylist(), np.float32)
    model = open_clip.create_model("tinysearch", str(tmp_path / "0.safetensors")).eval()
    with torch.inference_mode():
        query = model.encode_text(open_clip.get_tokenizer("tinysearch")([text]))[0].numpy()
    cosines = images @ query / np.linalg.norm(images, axis=1) / np.linalg.norm(query)

    found = mmfeat.search(features, text=text, encoder=checkpoint(0), count=5)
    assert found.column == "image"
    np.testing.assert_allclose(found.table["score"], np.sort(cosines)[::-1][:5], atol=2e-3)

    image = toy_table.parent / "p007.png"
    found = mmfeat.search(features, image=image, encoder=checkpoint(0), column="image", count=3)
    assert found.keys[0] == "p007"
    assert found.table["score"][0].as_py() == pytest.approx(1, abs=1e-3)
    with pytest.raises(MmfeatError, match=r"the encoder must be the one of column image"):
        mmfeat.search(features, text=text, encoder=checkpoint(1))
    with pytest.raises(MmfeatError, match=r"must be named.*--encoder 'open_clip:tinysearch"):
        mmfeat.search(features, text=text)


@pytest.mark.slow
def test_an_alignment_is_a_shared_space(shards, toy_table, tmp_path):
    features = mmfeat.extract(shards, tmp_path / "features")
    with pytest.raises(MmfeatError, match=r"share no space with texts"):
        mmfeat.search(features, text="a small cat sleeps", column="image")
    mmfeat.train(features, tmp_path / "model", task="align", epochs=3)
    text = "a small cat sleeps number 7"
    found = mmfeat.search(features, text=text, model=tmp_path / "model", count=60)
    assert found.column == "image"
    assert len(found.keys) == 60
    assert (np.diff(found.table["score"].to_numpy()) <= 0).all()
    # The text of a record and its own column of texts meet in the space.
    own = mmfeat.search(features, text=text, model=tmp_path / "model", column="text", count=3)
    assert own.keys[0] == "p007"
    assert own.table["score"][0].as_py() == pytest.approx(1, abs=1e-3)
    like = mmfeat.search(features, like="p007", model=tmp_path / "model", count=3)
    assert "p007" not in like.keys
    model = mmfeat.train(features, tmp_path / "other", target="label", fusion="ridge")
    with pytest.raises(MmfeatError, match=r"must be an alignment"):
        mmfeat.search(features, text=text, model=model)


@pytest.mark.slow
def test_emoji_are_found_by_their_names_and_pictures(mmfeat, real_data, tmp_path):
    table = real_data("emoji") / "metadata.csv"
    for arguments in (
        ("shard", table, tmp_path / "shards"),
        ("extract", tmp_path / "shards", tmp_path / "features"),
        ("search", tmp_path / "features", "--text", "cat", "--output", tmp_path / "text.parquet"),
        ("search", tmp_path / "features", "--image", table.parent / "images" / "1f63b.png",
            "--output", tmp_path / "page.html"),
    ):  # fmt: skip
        result = mmfeat(*arguments)
        assert result.returncode == 0, result.stderr

    keys = pq.read_table(tmp_path / "text.parquet")["__key__"].to_pylist()
    assert keys[0] == "1f408"  # the emoji called "cat"
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.index("1f63b") < page.index("1f63a")
    assert page.count("data:image/jpeg;base64,") == 10
