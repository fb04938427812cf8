import csv
import json
import random
import tarfile
import time
from pathlib import Path

import pytest

from mmfeat.features.store import FeatureStore
from mmfeat.features.table_files import TableFiles
from mmfeat.storage import files
from tests.faults import assert_one_error_line, flaky_files, kill, wait_for, write_noise_table
from tests.programs import run_python, run_with_file_limit


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A table of three hundred records."""
    return write_noise_table(tmp_path_factory.mktemp("raw"), 300, 16)


@pytest.fixture
def shards(mmfeat, pictures, tmp_path):
    """Thirty shards of ten records."""
    result = mmfeat("shard", pictures, tmp_path / "shards", "--samples-per-shard", 10)
    assert result.returncode == 0, result.stderr
    return tmp_path / "shards"


@pytest.fixture
def whole_features(mmfeat, small_shards, tmp_path, snapshot):
    """The files of an undisturbed run."""
    assert mmfeat("extract", small_shards, tmp_path / "whole").returncode == 0
    return snapshot(tmp_path / "whole")


MOMENTS = ("time", "receipts", "receipts", "temporary")


@pytest.mark.slow
def test_a_run_killed_many_times_gives_the_same_store(
    mmfeat, mmfeat_process, shards, tmp_path, snapshot
):
    assert mmfeat("extract", shards, tmp_path / "whole").returncode == 0
    whole = snapshot(tmp_path / "whole")
    rng = random.Random(14)
    out, kills, rounds = tmp_path / "0", 0, 0

    def receipts():
        return len(list(out.rglob("*_stats.json")))

    while kills < 14:
        old_temporaries = set(out.rglob(".*.tmp-*"))
        process = mmfeat_process("extract", shards, out)
        minimum = receipts() + rng.randint(0, 4)
        moment = rng.choice(MOMENTS) if kills else "column"
        if moment == "time":
            time.sleep(rng.uniform(0.5, 2.5))
        elif moment == "column":
            wait_for(process, (out / "columns" / "image" / "column.json").exists)
            time.sleep(rng.uniform(0, 0.2))
        elif moment == "receipts":
            wait_for(process, lambda n=minimum: receipts() > n)
        else:
            wait_for(process, lambda o=out, n=old_temporaries: not set(o.rglob(".*.tmp-*")) <= n)
        kills += kill(process)
        if (out / "manifest.json").exists():
            assert mmfeat("extract", shards, out).returncode == 0
            assert snapshot(out) == whole
            rounds += 1
            out = tmp_path / str(rounds)
    result = mmfeat("extract", shards, out)
    assert result.returncode == 0, result.stderr
    assert snapshot(out) == whole


def damage_tar(tar, damage, place):
    """Damage a tar in its fifth record, at a place."""
    with tarfile.open(tar) as file:
        members = file.getmembers()
    names = [member.name.partition(".")[0] for member in members]
    first = names.index(sorted(set(names), key=names.index)[4])
    at = {
        "at a record": members[first].offset,
        "at a member": members[first + 1].offset,
        "in a header": members[first].offset + 100,
        "in a content": members[first].offset_data + 7,
        "at the end": tar.stat().st_size - 1,
    }[place]
    data = tar.read_bytes()
    rest = {
        "cut": b"",
        "noise": random.Random(3).randbytes(len(data) - at),
        "zeros": bytes(len(data) - at),
        "bit": bytes([data[at] ^ 1]) + data[at + 1 :],
    }[damage]
    tar.write_bytes(data[:at] + rest)


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        ("cut", "at a record"),
        ("cut", "in a content"),
        ("noise", "in a header"),
        ("zeros", "at a member"),
        ("bit", "in a content"),
        ("bit", "at the end"),
    ],
)
def test_a_damaged_tar_fails_its_shard_until_it_is_restored(
    mmfeat, small_shards, whole_features, tmp_path, snapshot, damage, place
):
    tar = small_shards / "00003.tar"
    data = tar.read_bytes()
    damage_tar(tar, damage, place)
    result = mmfeat("extract", small_shards, tmp_path / "out")
    assert result.returncode == 1
    line = assert_one_error_line(result.stderr)
    assert "1 of 6 shards" in line
    assert "00003" in line
    assert not (tmp_path / "out" / "manifest.json").exists()
    done = {path.name[:5] for path in (tmp_path / "out").rglob("*_stats.json")}
    assert done == {"00000", "00001", "00002", "00004", "00005"}
    tar.write_bytes(data)
    assert mmfeat("extract", small_shards, tmp_path / "out").returncode == 0
    assert snapshot(tmp_path / "out") == whole_features


@pytest.mark.parametrize("name", ["00000.parquet", "00003.parquet", "00000.tar"])
def test_a_damaged_file_of_any_shard_fails_that_shard(
    mmfeat, small_shards, whole_features, tmp_path, snapshot, name
):
    """Also of the first shard, which is read to choose the settings of encoders."""
    path = small_shards / name
    data = path.read_bytes()
    path.write_bytes(data[:200] + bytes([data[200] ^ 64]) + data[201:])
    result = mmfeat("extract", small_shards, tmp_path / "out")
    assert result.returncode == 1
    line = assert_one_error_line(result.stderr)
    assert "1 of 6 shards" in line
    assert f"{name} must have the bytes of its receipt" in line
    path.write_bytes(data)
    assert mmfeat("extract", small_shards, tmp_path / "out").returncode == 0
    assert snapshot(tmp_path / "out") == whole_features


def test_a_shard_with_the_receipt_of_another_one_fails(mmfeat, small_shards, tmp_path):
    """The receipt fits the files, but not the manifest."""
    for suffix in (".tar", ".parquet", "_stats.json"):
        content = (small_shards / f"00002{suffix}").read_bytes()
        (small_shards / f"00001{suffix}").write_bytes(content.replace(b"00002", b"00001"))
    receipt = json.loads((small_shards / "00001_stats.json").read_bytes())
    files.write_json(str(small_shards / "00001_stats.json"), receipt)
    result = mmfeat("extract", small_shards, tmp_path / "out")
    assert result.returncode == 1
    assert "shard 00001" in assert_one_error_line(result.stderr)


def test_random_storage_errors_do_not_change_the_store(mmfeat, small_shards, flaky):
    for path in small_shards.iterdir():
        flaky().pipe_file(f"/in/{path.name}", path.read_bytes())
    assert mmfeat("extract", "flaky://in", "flaky://whole").returncode == 0
    flaky.error_rate = 0.03
    for _ in range(200):
        result = mmfeat("extract", "flaky://in", "flaky://out", "--threads", 1)
        if result.returncode == 0:
            break
        assert_one_error_line(result.stderr)
    flaky.error_rate = 0.0
    assert result.returncode == 0, result.stderr
    assert flaky.errors
    assert flaky_files("/out") == flaky_files("/whole")


def test_a_full_disk_is_one_error_line_and_the_run_resumes(
    mmfeat, shards, tmp_path, snapshot, small_disk
):
    disk, mount = small_disk
    assert mmfeat("extract", shards, tmp_path / "whole").returncode == 0
    for size in ("200k", "1m", "2m"):
        assert mount(f"remount,size={size}")
        result = mmfeat("extract", shards, disk / "out")
        assert result.returncode == 1
        assert_one_error_line(result.stderr)
        assert "No space left" in result.stderr, result.stderr
        assert not list((disk / "out").rglob(".*"))
        for name in ("image", "text", "samples"):
            table = TableFiles(str(disk / "out"), name, 2)
            for receipt in Path(table.receipts).glob("*_stats.json"):
                assert table.read_receipt(receipt.name.removesuffix("_stats.json"))
    assert mount("remount,size=50m")
    result = mmfeat("extract", shards, disk / "out")
    assert result.returncode == 0, result.stderr
    assert snapshot(disk / "out") == snapshot(tmp_path / "whole")


@pytest.mark.parametrize("limit", [4_000, 60_000])
def test_a_file_size_limit_is_one_error_line_and_the_run_resumes(
    mmfeat, small_shards, tmp_path, snapshot, limit
):
    result = run_with_file_limit(limit, "extract", small_shards, tmp_path / "out")
    assert result.returncode == 1, result.stderr
    assert "File too large" in assert_one_error_line(result.stderr)
    assert not list((tmp_path / "out").rglob(".*"))
    assert not list((tmp_path / "out" / "text").glob("*.arrow"))
    assert mmfeat("extract", small_shards, tmp_path / "out").returncode == 0
    assert mmfeat("extract", small_shards, tmp_path / "whole").returncode == 0
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


PEAK = """
import sys
from mmfeat.cli.main import main
from mmfeat.system.memory import peak_memory_mb
if code := main(sys.argv[1:]):
    sys.exit(code)
print(peak_memory_mb())
"""
"""Runs a command and prints its peak memory in MB."""


def peak_memory_of(*arguments):
    return float(run_python(PEAK, *arguments).split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_number_of_shards(mmfeat, pictures, tmp_path):
    lines = pictures.read_text().splitlines()
    for times in (1, 4, 16):
        rows = [lines[2 + n % 48] for n in range(50 * times)]  # rows that can be decoded
        table = tmp_path / f"{times}.csv"
        table.write_text("\n".join([lines[0], *(f"{pictures.parent}/{row}" for row in rows)]))
        flags = ("--samples-per-shard", 50, "--allow-outside")
        assert mmfeat("shard", table, tmp_path / f"shards{times}", *flags).returncode == 0
    peaks = {}
    for attempt in range(3):  # on a busy machine, threads may hold more at once
        for times in (1, 4, 16):
            peak = peak_memory_of(
                "extract", tmp_path / f"shards{times}", tmp_path / f"{times}-{attempt}"
            )
            peaks[times] = min(peak, peaks.get(times, peak))
        if max(peaks.values()) <= 1.05 * min(peaks.values()):
            break
    print(f"peak memory in MB: {peaks}")
    assert max(peaks.values()) <= 1.05 * min(peaks.values())


def test_every_broken_picture_is_a_row(mmfeat, real_data, tmp_path):
    names = sorted(path for path in (real_data("ugly") / "images").iterdir() if path.is_file())
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows(
            [["image", "text"], *([str(n), f"words {i}"] for i, n in enumerate(names))]
        )
    flags = ("--validate", "none", "--allow-outside")
    assert mmfeat("shard", tmp_path / "t.csv", tmp_path / "shards", *flags).returncode == 0
    result = mmfeat("extract", tmp_path / "shards", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    totals = FeatureStore(str(tmp_path / "out")).manifest["totals"]["columns"]
    assert totals["text"]["out"] == len(names)
    assert totals["image"]["records"] == len(names)
    assert 20 < totals["image"]["out"] < len(names)
    assert set(totals["image"]["rejected"]) <= {"undecodable", "too_large", "empty", "unreadable"}
