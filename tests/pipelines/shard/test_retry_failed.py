import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmfeat.store.manifest import read_manifest
from tests.faults import assert_one_error, kill, wait_for


def manifest_of(folder):
    return read_manifest(str(folder), "shards")


@pytest.fixture
def broken_table(make_table):
    """Forty records. Every fourth has neither a picture nor a text."""
    rows = [{"file_name": f"{n:02}.png", "text": "" if n % 4 == 0 else f"t{n}"} for n in range(40)]
    table = make_table(rows)
    for n in range(0, 40, 4):
        (table.parent / f"{n:02}.png").rename(table.parent / f"{n:02}.away")
    return table


def restore_pictures(table, numbers):
    for n in numbers:
        (table.parent / f"{n:02}.away").rename(table.parent / f"{n:02}.png")


FLAGS = ("--samples-per-shard", 10, "--shuffle", "none")


def test_retried_records_are_in_an_additional_shard(
    mmfeat, broken_table, tmp_path, read_rows, read_samples
):
    out = tmp_path / "out"
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    before = {p.name: p.read_bytes() for p in out.glob("0*") if p.suffix != ".json"}
    assert manifest_of(out)["totals"]["out"] == 30
    restore_pictures(broken_table, range(0, 40, 4))
    result = mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed")
    assert result.returncode == 0, result.stderr
    manifest = manifest_of(out)
    assert len(manifest["shards"]) == 5
    totals = manifest["totals"]
    assert (totals["records"], totals["out"], totals["rejected"]) == (40, 40, {})
    assert totals["status"] == {"ok": 30, "partial": 10}
    assert totals["problems"] == {"text:missing": 10}
    samples = read_samples(out)
    assert sorted(samples) == [f"{n:02}" for n in range(40)]
    for n in range(40):
        assert samples[f"{n:02}"]["png"] == (broken_table.parent / f"{n:02}.png").read_bytes()
    after = {p.name: p.read_bytes() for p in out.glob("0*") if p.suffix != ".json"}
    assert after.items() >= before.items()
    assert not (out / "_plan").exists()
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    result = mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed")
    assert "nothing to do" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times


def test_a_retry_without_success_changes_nothing(mmfeat, broken_table, tmp_path, snapshot):
    out = tmp_path / "out"
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    before = snapshot(out)
    result = mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed")
    assert result.returncode == 0, result.stderr
    after = snapshot(out)
    assert after.pop("manifest.json").pop("totals")["out"] == 30
    del before["manifest.json"]
    assert after == before


@pytest.mark.parametrize("damage", ["bit", "cut"])
def test_a_retry_does_not_read_a_damaged_table(mmfeat, broken_table, tmp_path, snapshot, damage):
    out = tmp_path / "out"
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    table = out / "00002.parquet"
    data = table.read_bytes()
    half = len(data) // 2
    table.write_bytes(
        data[:half] + (bytes([data[half] ^ 1]) + data[half + 1 :]) * (damage == "bit")
    )
    before = snapshot(out)
    restore_pictures(broken_table, range(0, 40, 4))
    line = assert_one_error(mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed"))
    assert "00002" in line
    assert "mmfeat verify" in line
    assert snapshot(out) == before
    table.write_bytes(data)
    assert mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed").returncode == 0
    assert manifest_of(out)["totals"]["out"] == 40


def test_several_retries_recover_all_records(mmfeat, broken_table, tmp_path, read_samples):
    out, flags = tmp_path / "out", ("--samples-per-shard", 4, "--shuffle", "none")
    assert mmfeat("shard", broken_table, out, *flags).returncode == 0
    # The first four records stay broken, so the first retry shard is empty.
    for numbers in ((16, 20, 24, 28), (0, 4), (8, 12, 32, 36)):
        restore_pictures(broken_table, numbers)
        result = mmfeat("shard", broken_table, out, *flags, "--retry-failed")
        assert result.returncode == 0, result.stderr
        listing = [shard["name"] for shard in manifest_of(out)["shards"]]
        assert len(set(listing)) == len(listing)
        assert sorted(path.stem for path in out.glob("*.tar")) == sorted(listing)
        assert len(read_samples(out)) == manifest_of(out)["totals"]["out"]
    assert sorted(read_samples(out)) == [f"{n:02}" for n in range(40)]
    assert manifest_of(out)["totals"]["rejected"] == {}


def test_retry_shards_respect_max_shard_bytes(mmfeat, broken_table, tmp_path):
    out, flags = tmp_path / "out", ("--max-shard-bytes", 5000)
    assert mmfeat("shard", broken_table, out, *flags).returncode == 0
    first = len(manifest_of(out)["shards"])
    restore_pictures(broken_table, range(0, 40, 4))
    for path in broken_table.parent.glob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0" * 2000)
    assert mmfeat("shard", broken_table, out, *flags, "--retry-failed").returncode == 0
    retry_shards = manifest_of(out)["shards"][first:]
    assert [shard["records"] for shard in retry_shards] == [1] * 10


def test_after_a_retry_the_plain_command_does_nothing(mmfeat, broken_table, tmp_path, snapshot):
    out = tmp_path / "out"
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    restore_pictures(broken_table, (0, 4, 8))
    assert mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed").returncode == 0
    before = snapshot(out)
    result = mmfeat("shard", broken_table, out, *FLAGS)
    assert (result.returncode, "nothing to do" in result.stdout) == (0, True)
    assert snapshot(out) == before


def test_a_lost_shard_of_a_retried_store_is_an_error(mmfeat, broken_table, tmp_path, snapshot):
    out = tmp_path / "out"
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    restore_pictures(broken_table, (0, 4, 8))
    assert mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed").returncode == 0
    listing = manifest_of(out)["shards"]
    (out / "00002.tar").rename(tmp_path / "00002.tar")
    line = assert_one_error(mmfeat("shard", broken_table, out, *FLAGS))
    assert "a shard of" in line
    assert "'00002'. Restore its files" in line
    (tmp_path / "00002.tar").rename(out / "00002.tar")
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    assert manifest_of(out)["shards"] == listing
    assert manifest_of(out)["totals"]["out"] == 33


def test_a_retry_does_not_restore_duplicates(mmfeat, make_table, tmp_path, read_samples):
    table = make_table([{"file_name": f"{n}.png"} for n in range(6)])
    (table.parent / "4.png").write_bytes((table.parent / "1.png").read_bytes())
    (table.parent / "5.png").unlink()
    flags = ("--dedup", "exact")
    assert mmfeat("shard", table, tmp_path / "out", *flags).returncode == 0
    assert sorted(read_samples(tmp_path / "out")) == ["0", "1", "2", "3"]
    (table.parent / "5.png").write_bytes(Path(table.parent / "0.png").read_bytes() + b"more")
    assert mmfeat("shard", table, tmp_path / "out", *flags, "--retry-failed").returncode == 0
    assert sorted(read_samples(tmp_path / "out")) == ["0", "1", "2", "3", "5"]


def test_a_retry_needs_a_finished_store(mmfeat, toy_table, tmp_path):
    line = assert_one_error(mmfeat("shard", toy_table, tmp_path / "out", "--retry-failed"))
    assert "finished store" in line


def test_a_killed_retry_resumes(
    mmfeat, mmfeat_process, make_table, picture_server, tmp_path, read_samples, snapshot
):
    names = [f"{n:03}.png" for n in range(400)]
    picture_server.missing.update(names[::2])
    rows = [
        {"url": picture_server.url(name), "text": "t" if n % 2 else ""}
        for n, name in enumerate(names)
    ]
    table = make_table(rows, pictures=False)
    flags = ("--samples-per-shard", 10)
    for name in ("whole", "out"):
        assert mmfeat("shard", "--allow-private", table, tmp_path / name, *flags).returncode == 0
    picture_server.missing.intersection_update({"000.png"})
    arguments = ("shard", "--allow-private", table, tmp_path / "out", *flags, "--retry-failed")
    picture_server.pause_after(100)
    process = mmfeat_process(*arguments)
    assert wait_for(process, (tmp_path / "out" / "00043_stats.json").exists)
    assert kill(process)
    picture_server.released.set()
    assert mmfeat(*arguments).returncode == 0
    assert (
        mmfeat(
            "shard", "--allow-private", table, tmp_path / "whole", *flags, "--retry-failed"
        ).returncode
        == 0
    )
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")
    assert len(read_samples(tmp_path / "out")) == 399
    assert manifest_of(tmp_path / "out")["totals"]["rejected"] == {
        "image:not_found, text:missing": 1
    }


def test_after_a_retry_only_new_shards_are_extracted(mmfeat, broken_table, tmp_path):
    out, features = tmp_path / "out", tmp_path / "features"
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    encoder = ("--encoder", "image=builtin:image")
    assert mmfeat("extract", out, features, *encoder).returncode == 0
    before = {p: p.stat().st_mtime_ns for p in features.rglob("0*")}
    restore_pictures(broken_table, (0, 4, 8))
    assert mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed").returncode == 0
    result = mmfeat("extract", out, features, *encoder)
    assert result.returncode == 0, result.stderr
    after = {p: p.stat().st_mtime_ns for p in features.rglob("0*")}
    assert after.items() >= before.items()
    assert {path.stem[:5] for path in after.keys() - before.keys()} == {"00004"}
    manifest = read_manifest(str(features), "features")
    assert [shard["name"] for shard in manifest["shards"]][-1] == "00004"
    assert manifest["shards"][-1]["records"] == 3


def test_a_retried_record_counts_once_in_every_stage(mmfeat, make_table, tmp_path):
    rows = [
        {"file_name": f"{n:02}.png", "label": "ab"[n % 2], "split": ("train", "val", "test")[n % 3]}
        for n in range(40)
    ]
    table = make_table(rows)
    for n in range(0, 40, 4):
        (table.parent / f"{n:02}.png").rename(table.parent / f"{n:02}.away")
    shards, features, model, predictions = (tmp_path / name for name in "sfmp")
    steps = (
        ("shard", table, shards, *FLAGS, "--retry-failed"),
        ("extract", shards, features),
        ("score", model, features, predictions),
    )
    assert mmfeat(*steps[0][:-1]).returncode == 0
    assert mmfeat(*steps[1]).returncode == 0
    train = ("--target", "label", "--fusion", "gmu", "--epochs", 1)
    assert mmfeat("train", features, model, *train).returncode == 0
    assert mmfeat(*steps[2]).returncode == 0
    for numbers, failed in (((0, 4), 8), ((8,), 7)):
        restore_pictures(table, numbers)
        for step in steps:
            result = mmfeat(*step)
            assert result.returncode == 0, result.stderr
        stores = {"shards": shards, "features": features, "predictions": predictions}
        for kind, folder in stores.items():
            totals = read_manifest(str(folder), kind)["totals"]
            assert (totals["records"], totals["out"]) == (40, 40 - failed)
            assert totals["rejected"] == {"image:not_found": failed}
        column = read_manifest(str(features), "features")["totals"]["columns"]["image"]
        assert (column["records"], column["out"]) == (40, 40 - failed)
        assert column["rejected"] == {"not_found": failed}
        scored = [
            row
            for path in sorted(predictions.glob("data/*.parquet"))
            for row in pq.read_table(path).to_pylist()
        ]
        assert len(scored) == len({row["__key__"] for row in scored}) == 40
        assert sum(row["status"] == "failed" for row in scored) == failed
        result = mmfeat("evaluate", model, features, "--split", "all", "--json")
        metrics = json.loads(result.stdout)
        assert (metrics["rows"], metrics["left_out"]) == (40 - failed, {"no modality": failed})
