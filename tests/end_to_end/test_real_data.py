"""All stages on real records, as a user runs them."""

import csv
import json

import pyarrow.dataset as ds
import pytest
import webdataset

from mmfeat.features.store import FeatureStore


def read_predictions(folder):
    return ds.dataset(folder / "data").to_table().to_pylist()


def assert_success(mmfeat, *arguments):
    """Assert that a command succeeds, and return its output."""
    result = mmfeat(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def features(mmfeat, real_data, tmp_path):
    def make(name):
        table = real_data(name) / "metadata.csv"
        assert_success(mmfeat, "shard", table, tmp_path / "shards")
        assert_success(mmfeat, "extract", tmp_path / "shards", tmp_path / "features")
        return tmp_path / "features"

    return make


@pytest.mark.slow
def test_both_modalities_classify_emoji_best(mmfeat, features, tmp_path):
    store = features("emoji")
    accuracy = {}
    # One modality alone is a convex problem, which does not depend on the seed.
    for modalities, seeds in (("image", 1), ("text", 1), ("image,text", 2)):
        scores = []
        for seed in range(seeds):
            model = tmp_path / f"model-{modalities}-{seed}"
            assert_success(mmfeat, "train", store, model, "--target", "label", "--lr", "3e-4",
                "--modalities", modalities, "--seed", seed)  # fmt: skip
            output = assert_success(mmfeat, "evaluate", model, store, "--split", "test", "--json")
            scores.append(json.loads(output)["accuracy"])
        accuracy[modalities] = sum(scores) / len(scores)
    assert_success(mmfeat, "score", model, store, tmp_path / "predictions")
    assert len(read_predictions(tmp_path / "predictions")) == 1871
    assert accuracy["image"] >= 0.68
    assert accuracy["text"] >= 0.63
    assert accuracy["image,text"] >= 0.74
    assert accuracy["image,text"] >= max(accuracy["image"], accuracy["text"])


@pytest.mark.slow
def test_products_without_a_target_are_scored(mmfeat, features, tmp_path):
    store = features("products")
    assert_success(mmfeat, "train", store, tmp_path / "model", "--target", "gender", "--lr", "3e-4")
    assert_success(mmfeat, "score", tmp_path / "model", store, tmp_path / "predictions")
    output = assert_success(mmfeat, "evaluate", tmp_path / "model", store, "--json")
    assert json.loads(output)["accuracy"] >= 0.8
    rows = read_predictions(tmp_path / "predictions")
    assert len(rows) == 715
    assert {row["prediction"] for row in rows} == {"Men", "Women"}


def test_chinese_names_and_texts_are_kept(mmfeat, features, real_data, tmp_path):
    store = FeatureStore(str(features("recipes_zh")))
    assert store.records == 342
    with (real_data("recipes_zh") / "metadata.csv").open(encoding="utf-8", newline="") as file:
        source_rows = {row["file_name"]: row for row in csv.DictReader(file)}
    keys = {}
    for tar in sorted((tmp_path / "shards").glob("*.tar")):
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False):
            metadata = json.loads(sample["json"])
            row = source_rows[metadata["file_name"]]
            assert sample["txt"] == row["text"].encode()
            assert sample["jpg"] == (real_data("recipes_zh") / row["file_name"]).read_bytes()
            assert metadata == {name: row[name] for name in row if name != "text"}
            keys[metadata["file_name"]] = sample["__key__"]
    assert keys.keys() == source_rows.keys()
    assert keys["images/aquatic/小龙虾_0.jpg"] == "小龙虾_0"
