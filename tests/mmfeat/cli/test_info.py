import json

import pytest


@pytest.fixture
def shards(mmfeat, toy_table, tmp_path):
    mmfeat("shard", toy_table, tmp_path / "shards")
    return tmp_path / "shards"


def test_info_shows_what_a_store_contains(mmfeat, shards):
    result = mmfeat("info", shards)
    assert result.returncode == 0
    assert "shards in" in result.stdout
    assert "samples_per_shard" in result.stdout


def test_info_as_json_is_one_object(mmfeat, shards):
    facts = json.loads(mmfeat("info", shards, "--json").stdout)
    assert facts["kind"] == "shards"
    assert facts["finished"] is True
    assert facts["totals"]["records"] == 60
    assert facts["config"]["samples_per_shard"] == 1000


def test_info_shows_whether_a_store_is_finished(mmfeat, shards):
    (shards / "manifest.json").unlink()
    assert json.loads(mmfeat("info", shards, "--json").stdout)["finished"] is False


def test_info_refuses_other_directories(mmfeat, tmp_path):
    result = mmfeat("info", tmp_path)
    assert result.returncode == 1
    assert "has none" in result.stderr


def test_info_shows_every_column_of_a_model(mmfeat, shards, tmp_path):
    mmfeat("extract", shards, tmp_path / "features")
    mmfeat("train", tmp_path / "features", tmp_path / "model", "--target", "label",
           "--fusion", "sum", "--lr", "0.01", "--epochs", "1")  # fmt: skip
    shown = mmfeat("info", tmp_path / "model").stdout
    assert shown.count("fingerprint") == 2
    assert "builtin:image" in shown
    assert "builtin:text" in shown
    assert "{" not in shown
