"""The plan of an unfinished run is verified, and made again if it is damaged."""

import shutil
from pathlib import Path

import pytest

from mmfeat.sharding import ShardConfig, Sharding
from mmfeat.storage import files
from mmfeat.verification import uncommit, verify_store

FILES = ["block-00000.jsonl", "shards.parquet", "plan.json"]


@pytest.fixture
def planned(stores):
    """A store of shards that was planned and not made."""
    shutil.rmtree("shards")
    Sharding(ShardConfig("raw/toyset.csv", "shards", samples_per_shard=15)).plan()
    return stores


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def test_an_intact_plan_has_no_damage(planned):
    assert sorted(path.name for path in Path("shards/_plan").iterdir()) == sorted(FILES)
    assert verify_store("shards").damages == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [flip, Path.unlink], ids=["flipped", "gone"])
def test_a_damaged_plan_is_made_again(planned, contents, mmfeat, name, change):
    before = contents(Path("shards"))
    change(Path("shards/_plan", name))
    damages = verify_store("shards").damages
    if (name, change) == ("plan.json", Path.unlink):  # then there is no plan
        assert damages == []
    else:
        assert [damage.path for damage in damages] == [f"shards/_plan/{name}"]
        assert uncommit(verify_store("shards"))
        assert not Path("shards/_plan/plan.json").exists()
        assert verify_store("shards").damages == []
    Sharding(ShardConfig("raw/toyset.csv", "shards", samples_per_shard=15)).plan()
    assert contents(Path("shards")) == before
    assert mmfeat("shard", "raw/toyset.csv", "shards", "--samples-per-shard", 15).returncode == 0


def test_a_shard_whose_piece_is_damaged_fails_with_the_cure(planned, mmfeat):
    block = Path("shards/_plan/block-00000.jsonl")
    block.write_bytes(block.read_bytes()[:-1])
    command = ("shard", "raw/toyset.csv", "shards", "--samples-per-shard", 15)
    result = mmfeat(*command)
    assert result.returncode == 1
    assert "mmfeat verify --fix shards" in result.stderr
    assert len(list(Path("shards").glob("*_stats.json"))) == 3
    assert mmfeat("verify", "shards", "--fix").returncode == 0
    assert mmfeat(*command).returncode == 0


def test_a_damaged_plan_of_a_retry_leaves_the_store_alone(stores):
    """Its shards cannot be made again, but the plan can."""
    Sharding(ShardConfig("raw/toyset.csv", "other", samples_per_shard=15)).plan()
    shutil.copytree("other/_plan", "shards/_plan")
    manifest = files.read_json("shards/manifest.json")
    manifest["shards"][2]["config_hash"] = "0" * 64
    files.write_json("shards/manifest.json", manifest)
    receipt = files.read_json("shards/00002_stats.json")
    files.write_json("shards/00002_stats.json", receipt | {"config_hash": "0" * 64})
    flip(Path("shards/_plan/block-00000.jsonl"))
    result = verify_store("shards")
    assert result.was_retried
    assert len(result.damages) == 1
    removed = uncommit(result)
    assert sorted(removed) == ["shards/_plan/block-00000.jsonl", "shards/_plan/plan.json"]
    assert verify_store("shards").damages == []
    assert Path("shards/manifest.json").exists()
