"""All stages on an object store with conditional writes."""

import threading

import fsspec
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.storage import claim_planning, conditional, files
from mmfeat.store import read_receipt
from mmfeat.store.attempt import ShardAttempt
from tests.mmfeat.storage.versions import VersionedFileSystem, VersionedStore

FLAGS = ("--samples-per-shard", 20)


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    fsspec.register_implementation("versioned", VersionedFileSystem, clobber=True)
    monkeypatch.setitem(conditional.STORES, "versioned", VersionedStore)
    return f"versioned://{tmp_path.name}"


def read_objects(folder):
    prefix = f"{VersionedFileSystem._strip_protocol(folder)}/"
    return {
        name.removeprefix(prefix): file.getvalue()
        for name, file in VersionedFileSystem.store.items()
        if name.startswith(prefix) and not name.endswith("_stats.json")
    }


def test_stages_continue_after_a_killed_attempt(mmfeat, bucket, toy_table):
    shards, features = f"{bucket}/shards", f"{bucket}/features"
    whole = f"{bucket}/whole"
    assert mmfeat("shard", toy_table, whole, *FLAGS).returncode == 0
    assert mmfeat("shard", toy_table, shards, *FLAGS).returncode == 0
    attempt = ShardAttempt(shards, "00001")  # it dies here, after half of its files
    with attempt.create("00001.tar") as output:
        output.write(b"half")
    assert read_receipt(shards, "00001") is None
    assert mmfeat("shard", toy_table, shards, *FLAGS).returncode == 0
    assert read_objects(shards) == read_objects(whole)
    result = mmfeat("extract", shards, features)
    assert result.returncode == 0, result.stderr
    assert "one run at a time" not in result.stderr
    result = mmfeat("extract", shards, features)
    assert "nothing to do" in result.stdout


def test_two_runs_at_once_make_one_store(mmfeat, bucket, toy_table):
    whole, shards = f"{bucket}/whole", f"{bucket}/shards"
    assert mmfeat("shard", toy_table, whole, *FLAGS).returncode == 0
    results = []
    runs = [
        threading.Thread(target=lambda: results.append(mmfeat("shard", toy_table, shards, *FLAGS)))
        for _ in range(2)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert mmfeat("shard", toy_table, shards, *FLAGS).returncode == 0
    assert read_objects(shards) == read_objects(whole)


def test_a_run_with_another_configuration_does_not_plan_at_the_same_time(mmfeat, bucket, toy_table):
    with claim_planning(f"{bucket}/shards", "another"):
        result = mmfeat("shard", toy_table, f"{bucket}/shards", *FLAGS)
        assert result.returncode == 1
        assert "one configuration at a time may plan" in result.stderr
        with pytest.raises(MmfeatError), claim_planning(f"{bucket}/shards", "a third"):
            pass
    assert files.list_names(f"{bucket}/shards") == []
    assert mmfeat("shard", toy_table, f"{bucket}/shards", *FLAGS).returncode == 0
    assert not files.exists(f"{bucket}/shards/.planning.json")


def test_a_store_without_conditional_writes_has_a_warning(mmfeat, bucket, toy_table, monkeypatch):
    monkeypatch.delitem(conditional.STORES, "versioned")
    result = mmfeat("shard", toy_table, f"{bucket}/shards", *FLAGS)
    assert result.returncode == 0
    assert "versioned:// has no conditional writes" in result.stderr
