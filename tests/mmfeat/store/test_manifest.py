import pytest

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.storage import files
from mmfeat.store.directory import CONFIG_FILE, newest_format, open_run, read_format
from mmfeat.store.manifest import (
    MANIFEST_FILE,
    finished_manifest,
    read_manifest,
    write_manifest,
)
from mmfeat.store.unfinished import write_failure
from tests.mmfeat.manifests import shard_entry, shards_entries

SHARD = shard_entry("00000")


def test_only_a_finished_store_of_the_right_kind_is_read(folder):
    with pytest.raises(MmfeatError, match="Make them with: mmfeat shard"):
        read_manifest(folder, "shards")
    config_hash = open_run(folder, "shards", {})
    with pytest.raises(MmfeatError, match="not finished"):
        read_manifest(folder, "shards")
    write_manifest(folder, "shards", config_hash, **shards_entries())
    assert read_manifest(folder, "shards")["config_hash"] == config_hash
    with pytest.raises(MmfeatError, match="must hold features; got 'shards'"):
        read_manifest(folder, "features")


def test_a_folder_that_does_not_exist_is_named_with_a_similar_one(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(MmfeatError, match=r"there is no folder .*/modell/") as caught:
        read_manifest(f"{tmp_path}/modell/", "model")
    assert f"Did you mean '{tmp_path}/model'?" in str(caught.value)
    with pytest.raises(MmfeatError, match=r"there is no folder .* Make it with: mmfeat train"):
        read_manifest(f"{tmp_path}/other/entirely", "model")
    with pytest.raises(MmfeatError, match=r"model has no model: no manifest\.json"):
        read_manifest(f"{tmp_path}/model", "model")


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "rows.csv").write_text("key,text\n")
    with pytest.raises(
        MmfeatError, match=r"is a folder, and .*rows\.csv is a file\. Make them with"
    ):
        read_manifest(f"{tmp_path}/rows.csv", "shards")


def test_the_model_of_a_comparison_is_named(folder):
    write_manifest(folder, "comparison", open_run(folder, "comparison", {}))
    message = f"must hold a model; got 'comparison'. Name its picked model: {folder}/winner"
    with pytest.raises(MmfeatError, match=message):
        read_manifest(folder, "model")


@pytest.mark.parametrize(
    ("kind", "message"), [("model", "the model in .* is not"), ("features", "in .* are not")]
)
def test_an_unfinished_store_is_named(kind, message, folder):
    open_run(folder, kind, {})
    with pytest.raises(MmfeatError, match=message):
        read_manifest(folder, kind)


def test_a_store_is_finished_for_its_own_configuration(folder):
    config_hash = open_run(folder, "shards", {})
    assert finished_manifest(folder, config_hash) is None
    manifest = write_manifest(folder, "shards", config_hash, **shards_entries())
    assert finished_manifest(folder, config_hash) == manifest
    assert finished_manifest(folder, "another hash") is None


@pytest.mark.parametrize("kind", ["shards", "features", "model", "predictions"])
def test_a_newer_format_is_neither_read_nor_continued(folder, kind):
    newer = {"kind": kind, "format": newest_format(kind) + 1, "hash": "", "config": {}}
    files.write_json(files.join(folder, MANIFEST_FILE), newer)
    files.write_json(files.join(folder, CONFIG_FILE), newer)
    message = rf"must have a format of {kind} .*, at most \d; got \d\. Upgrade mmfeat"
    with pytest.raises(MmfeatError, match=message):
        read_manifest(folder, kind)
    with pytest.raises(MmfeatError, match=message):
        open_run(folder, kind, {})


@pytest.mark.parametrize("found", [None, 0, "2", [1]])
def test_a_format_that_is_no_version_is_refused(folder, found):
    files.write_json(files.join(folder, MANIFEST_FILE), {"kind": "features", "format": found})
    with pytest.raises(MmfeatError, match="must have a format of features"):
        read_manifest(folder, "features")


def test_a_store_keeps_the_format_of_its_first_run(folder):
    config_hash = open_run(folder, "predictions", {})
    run = files.read_json(files.join(folder, CONFIG_FILE))
    assert (run["format"], read_format(folder, "predictions")) == (2, 2)
    files.write_json(files.join(folder, CONFIG_FILE), run | {"format": 1})
    assert open_run(folder, "predictions", {}) == config_hash
    assert write_manifest(folder, "predictions", config_hash)["format"] == 1
    assert read_format(folder, "predictions") == 1


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ([SHARD | {"name": "../x"}], r"shards\[0\]\.name: expected a plain name .*; got '\.\./x'"),
        ([SHARD | {"records": -1}], r"shards\[0\]\.records: expected `int` >= 0; got -1"),
        ([SHARD | {"sha256": None}], r"shards\[0\]\.sha256: expected `str`, got `null`"),
        ([SHARD, SHARD], "must name each shard once; got '00000'"),
        ([{}], r"shards\[0\]: object missing required field `name`"),
        ("00000", "shards: expected `array`, got `str`; got '00000'"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(folder, shards, message):
    config_hash = open_run(folder, "shards", {})
    write_manifest(folder, "shards", config_hash, **shards_entries(shards=shards))
    with pytest.raises(DamagedFileError, match=rf"manifest\.json .*{message}.*Restore"):
        read_manifest(folder, "shards")
    with pytest.raises(DamagedFileError, match=message):
        finished_manifest(folder, config_hash)


def test_a_finished_store_has_no_failures(folder):
    config_hash = open_run(folder, "shards", {})
    write_failure(folder, "00000", "the disk failed after the receipt was written")
    write_manifest(folder, "shards", config_hash, shards=[])
    assert files.list_names(folder) == ["config.json", "manifest.json"]
