"""Plans of earlier versions: a file per shard, and the list of shards in plan.json."""

import pytest

from mmfeat.sharding.config import ShardConfig
from mmfeat.sharding.shard_plan import read_plan, read_planned_records
from mmfeat.sharding.stage import Sharding
from mmfeat.storage import files

FLAGS = {"samples_per_shard": 7}


def make_earlier(folder):
    """Write a plan as an earlier version did; return the hash of its configuration."""
    document = files.read_json(f"{folder}/_plan/plan.json")
    config_hash = document["config_hash"]
    plan = read_plan(str(folder), config_hash)
    for shard in plan.shards:
        with files.open_input(f"{folder}/_plan/block-00000.jsonl") as file:
            file.seek(shard.piece.offset)
            lines = file.read(shard.piece.length)
        (folder / "_plan" / f"{shard.name}.jsonl").write_bytes(lines)
    shards = {s.name: {"records": s.records, "bytes": s.bytes} for s in plan.shards}
    rest = {name: value for name, value in document.items() if name not in ("index", "shards")}
    files.write_json(f"{folder}/_plan/plan.json", {**rest, "shards": shards})
    files.remove(f"{folder}/_plan/block-00000.jsonl")
    files.remove(f"{folder}/_plan/shards.parquet")
    return config_hash, plan


@pytest.fixture
def earlier(toy_table, tmp_path):
    """A store that an earlier version has planned."""
    out = tmp_path / "out"
    Sharding(ShardConfig(str(toy_table), str(out), **FLAGS)).plan()
    return out, *make_earlier(out)


def test_a_plan_with_a_file_per_shard_is_read(earlier):
    out, config_hash, plan = earlier
    found = read_plan(str(out), config_hash)
    assert [shard._replace(piece=None) for shard in plan.shards] == list(found.shards)
    assert (found.columns, found.selection) == (plan.columns, plan.selection)
    assert len(read_planned_records(str(out), "00003", None)) == 7


def test_a_run_of_an_earlier_version_is_resumed(earlier, mmfeat, toy_table, tmp_path, snapshot):
    out, *_ = earlier
    assert mmfeat("info", out).returncode == 0
    assert mmfeat("verify", out).returncode == 0
    (out / "_plan" / "00003.jsonl").write_bytes(b"[0,1]\n")
    flags = ("--samples-per-shard", 7)
    result = mmfeat("shard", toy_table, out, *flags)
    assert (result.returncode, len(list(out.glob("*_stats.json")))) == (1, 8)
    assert "shard 00003 must have records in the plan" in result.stderr
    files.remove(f"{out}/_plan")
    assert mmfeat("shard", toy_table, out, *flags).returncode == 0
    assert mmfeat("shard", toy_table, tmp_path / "new", *flags).returncode == 0
    assert snapshot(out) == snapshot(tmp_path / "new")


@pytest.mark.parametrize("size", [-1, "7", None])
def test_a_list_of_shards_with_impossible_values_is_no_plan(earlier, size):
    out, config_hash, _ = earlier
    document = files.read_json(f"{out}/_plan/plan.json")
    document["shards"]["00001"]["records"] = size
    files.write_json(f"{out}/_plan/plan.json", document)
    assert read_plan(str(out), config_hash) is None
