import pytest

from mmfeat.errors import MmfeatError
from mmfeat.store import files
from mmfeat.store.directory import STORE_FORMAT, open_run
from mmfeat.store.manifest import (
    MANIFEST_FILE,
    finished_manifest,
    read_manifest,
    write_manifest,
)


def test_only_a_finished_store_of_the_right_kind_is_read(folder):
    with pytest.raises(MmfeatError, match="Make them with: mmfeat shard"):
        read_manifest(folder, "shards")
    config_hash = open_run(folder, "shards", {})
    with pytest.raises(MmfeatError, match="not finished"):
        read_manifest(folder, "shards")
    write_manifest(folder, "shards", config_hash, shards=[])
    assert read_manifest(folder, "shards")["config_hash"] == config_hash
    with pytest.raises(MmfeatError, match="must hold features; got 'shards'"):
        read_manifest(folder, "features")


def test_a_store_is_finished_for_its_own_configuration(folder):
    config_hash = open_run(folder, "shards", {})
    assert finished_manifest(folder, config_hash) is None
    manifest = write_manifest(folder, "shards", config_hash)
    assert finished_manifest(folder, config_hash) == manifest
    assert finished_manifest(folder, "another hash") is None


def test_a_newer_format_is_refused(folder):
    path = files.join(folder, MANIFEST_FILE)
    files.write_json(path, {"kind": "shards", "format": STORE_FORMAT + 1})
    with pytest.raises(MmfeatError, match="Upgrade mmfeat"):
        read_manifest(folder, "shards")
