import os

import pytest

from mmfeat.storage import files
from mmfeat.store.attempt import ShardAttempt
from mmfeat.store.receipts import Receipt, read_receipt


@pytest.fixture
def synced(monkeypatch):
    """The names of the folders and documents that were synced, in order."""
    names = []
    sync = os.fsync

    def record(descriptor):
        names.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")).split(".tmp-")[0])
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return names


def make_shard(folder, root="", content=b"data"):
    attempt = ShardAttempt(folder, "00000", root)
    for name in ("rows/00000.a", "rows/00000.b"):
        with attempt.create(name) as output:
            output.write(content)
    attempt.commit(Receipt(shard="00000", config_hash="h", records=1, out=1))


def test_the_receipt_lists_the_files_of_the_attempt(folder):
    make_shard(folder)
    receipt = read_receipt(folder, "00000")
    assert {name: info["bytes"] for name, info in receipt.files.items()} == {
        "rows/00000.a": 4,
        "rows/00000.b": 4,
    }


def test_an_earlier_receipt_goes_before_the_first_file_comes(folder):
    make_shard(folder)
    attempt = ShardAttempt(folder, "00000")
    assert files.list_names(folder) == ["rows"]
    with pytest.raises(ValueError, match="half"), attempt.create("rows/00000.a"):
        raise ValueError("half way")
    assert read_receipt(folder, "00000") is None


def test_folders_are_synced_once_before_the_receipt_and_once_after(folder, synced):
    make_shard(folder)
    synced.clear()
    make_shard(folder)
    data, receipt = [".00000.a", ".00000.b"], ".00000_stats.json"
    removal = ["store"]
    assert synced == [*removal, *data, "rows", "store", receipt, "store"]


def test_files_are_relative_to_the_root(folder):
    make_shard(f"{folder}/receipts", root=folder)
    assert read_receipt(f"{folder}/receipts", "00000", root=folder) is not None
    assert files.list_names(f"{folder}/rows") == ["00000.a", "00000.b"]
