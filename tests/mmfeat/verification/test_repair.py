from contextlib import suppress
from pathlib import Path

import pytest

from mmfeat.cli import main
from mmfeat.errors import MmfeatError
from mmfeat.storage import files, lock_directory
from mmfeat.verification import repair, uncommit, verify_store
from tests.faults import assert_one_error
from tests.mmfeat.verification.conftest import COMMANDS

DAMAGE = {
    "shards/00001.tar": {"shards/00001_stats.json", "shards/manifest.json", "shards/00001.tar",
                         "shards/00001.parquet"},
    "shards/manifest.json": {"shards/manifest.json"},
    "shards/00002_stats.json": {"shards/00002_stats.json", "shards/manifest.json"},
    "features/image/00001.arrow": {"features/columns/image/00001_stats.json",
                                   "features/image/00001.arrow"},
    "features/samples/00001.parquet": {"features/00001_stats.json",
                                       "features/samples/00001.parquet"},
    "features/columns/text/column.json": {"features/columns/text/column.json"},
    "features/manifest.json": {"features/manifest.json"},
    "features/config.json": {"features/config.json"},
    "predictions/data/00000.parquet": {"predictions/00000_stats.json", "predictions/manifest.json",
                                       "predictions/data/00000.parquet"},
    "predictions/config.json": {"predictions/config.json"},
    "model/model.safetensors": {"model/manifest.json", "model/model.safetensors"},
    "model/log.jsonl": {"model/manifest.json", "model/log.jsonl"},
}  # fmt: skip
"""Damaged file → files that --fix removes or writes again."""

NOT_REPEATED = ("model/log.jsonl", "model/metrics.json", "model/report.html", "model/manifest.json")
"""Files of a model with the time of training."""


def damage(name):
    data = Path(name).read_bytes()
    half = len(data) // 2
    Path(name).write_bytes(data[:half] + bytes([data[half] ^ 4]) + data[half + 1 :])


def make_again(store):
    assert main.main(list(COMMANDS[store])) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGE)
def test_fix_and_the_same_command_give_the_same_bytes(stores, contents, mmfeat, name):
    before = contents(stores)
    damage(name)
    store = name.partition("/")[0]
    result = mmfeat("verify", store, "--fix")
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("un-committed: ")]
    assert {line.removeprefix("un-committed: ") for line in lines} == DAMAGE[name]
    make_again(store)
    after = contents(stores)
    if store == "model":
        assert before.keys() == after.keys()
        before, after = (
            {key: value for key, value in files.items() if key not in NOT_REPEATED}
            for files in (before, after)
        )
    assert after == before
    assert verify_store(store).damages == []


def test_verify_writes_nothing_without_fix(stores, contents):
    damage("shards/00001.tar")
    before = contents(stores)
    assert verify_store("shards").damages
    assert contents(stores) == before


def test_fix_of_an_intact_store_changes_nothing(stores, contents, mmfeat):
    before = contents(stores)
    for store in COMMANDS:
        assert mmfeat("verify", store, "--fix").returncode == 0
    assert contents(stores) == before


class Killed(BaseException):
    pass


@pytest.mark.parametrize("removals", range(7))
def test_a_killed_fix_can_be_repeated(stores, contents, monkeypatch, removals):
    """After each removal, and in any order of the rerun of fix and of the command."""
    before = contents(stores)
    damage("predictions/data/00000.parquet")
    damage("predictions/data/00002.parquet")
    remove, count = files.remove, iter(range(100))

    def remove_or_die(path):
        if next(count) == removals:
            raise Killed
        remove(path)

    monkeypatch.setattr(repair.files, "remove", remove_or_die)
    with suppress(Killed):
        uncommit(verify_store("predictions"))
    monkeypatch.setattr(repair.files, "remove", remove)
    uncommit(verify_store("predictions"))
    make_again("predictions")
    assert contents(stores) == before


def test_temporary_files_of_killed_runs_are_removed(stores):
    rest = Path("shards/.00009.tar.tmp-0123")
    rest.write_bytes(b"rest")
    damage("shards/00000.tar")
    uncommit(verify_store("shards"))
    assert not rest.exists()


def test_nothing_outside_the_store_is_removed(stores, contents):
    """Receipts that name files outside are damaged, and links out of the store are not followed."""
    outside = stores / "raw"
    before = contents(outside)
    receipt = files.read_json("shards/00001_stats.json")
    name = next(iter(before))
    receipt["files"][f"../raw/{name}"] = receipt["files"].pop("00001.tar")
    files.write_json("shards/00001_stats.json", receipt)
    Path("features/image").rename("raw/image")
    Path("features/image").symlink_to(outside / "image")
    linked = contents(outside)
    damage("features/image/00000.arrow")
    linked["image/00000.arrow"] = Path("raw/image/00000.arrow").read_bytes()
    for store in ("shards", "features"):
        assert uncommit(verify_store(store))
    assert contents(outside) == linked
    assert not Path("shards/00001_stats.json").exists()
    assert not Path("features/columns/image/00000_stats.json").exists()


def test_a_store_in_use_is_not_changed(stores, contents):
    damage("shards/00000.tar")
    before = contents(stores)
    result = verify_store("shards")
    with lock_directory("shards"), pytest.raises(MmfeatError, match="another run is active"):
        uncommit(result)
    assert contents(stores) == before


def test_a_store_with_retried_records_is_not_changed(stores, contents, mmfeat):
    """Its lost shards cannot be made again, so that removing them would only lose records."""
    manifest = files.read_json("shards/manifest.json")
    manifest["shards"][2]["config_hash"] = "0" * 64
    files.write_json("shards/manifest.json", manifest)
    receipt = files.read_json("shards/00002_stats.json")
    files.write_json("shards/00002_stats.json", receipt | {"config_hash": "0" * 64})
    assert verify_store("shards").damages == []
    damage("shards/00000.tar")
    before = contents(stores)
    result = mmfeat("verify", "shards", "--fix")
    assert "--retry-failed" in assert_one_error(result)
    assert contents(stores) == before
