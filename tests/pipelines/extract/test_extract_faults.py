import csv
import random
import resource
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pytest

from mmfeat.features.store import FeatureStore
from mmfeat.features.table_files import TableFiles
from tests.faults import assert_one_error_line, flaky_files, kill, wait_for, write_noise_table

REPOSITORY = Path(__file__).resolve().parents[3]


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


def reasons_of(folder, column):
    """Shard → reason of each row without a feature."""
    store = FeatureStore(str(folder))
    return {shard: store.read_column(column, shard).reasons.to_pylist() for shard in store.shards}


EXPECTED = {
    ("cut", "at a member", "image"): None,
    ("noise", "at a member", "image"): None,
    ("noise", "in a content", "image"): "undecodable",
}
"""Damage, place, column → reason of the record at the damage, if not `damaged_shard`."""


@pytest.mark.parametrize("place", ["at a record", "at a member", "in a header", "in a content"])
@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_damaged_tar_loses_the_records_after_the_damage(
    mmfeat, small_shards, tmp_path, damage, place
):
    assert mmfeat("extract", small_shards, tmp_path / "whole").returncode == 0
    tar = small_shards / "00003.tar"
    with tarfile.open(tar) as file:
        members = file.getmembers()
    names = [member.name.partition(".")[0] for member in members]
    first = names.index(sorted(set(names), key=names.index)[4])  # the fifth record's
    at = {
        "at a record": members[first].offset,
        "at a member": members[first + 1].offset,
        "in a header": members[first].offset + 100,
        "in a content": members[first].offset_data + 7,
    }[place]
    data = tar.read_bytes()
    noise = random.Random(3).randbytes(len(data) - at) if damage == "noise" else b""
    tar.write_bytes(data[:at] + noise)
    result = mmfeat("extract", small_shards, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    out = FeatureStore(str(tmp_path / "out"))
    for column in ("image", "text"):
        reasons = reasons_of(tmp_path / "out", column)
        lost = reasons.pop("00003")
        assert {reason for rows in reasons.values() for reason in rows} == {None}
        assert lost[:4] == [None] * 4
        assert lost[5:] == ["damaged_shard"] * 5
        assert lost[4] == EXPECTED.get((damage, place, column), "damaged_shard")
        receipt = TableFiles(out.path, column, 2).read_receipt("00003")
        assert receipt.records == 10
        assert receipt.rejected == Counter(filter(None, lost))
        assert receipt.out == lost.count(None)
        assert out.manifest["totals"]["columns"][column]["rejected"] == receipt.rejected
        for shard in reasons:
            name = f"{column}/{shard}.arrow"
            assert (tmp_path / "out" / name).read_bytes() == (
                tmp_path / "whole" / name
            ).read_bytes()


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
    result = subprocess.run(
        [sys.executable, "-m", "mmfeat", "extract", small_shards, tmp_path / "out"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
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
from mmfeat.system.processes import peak_memory_mb
if code := main(sys.argv[1:]):
    sys.exit(code)
print(peak_memory_mb())
"""
"""Runs a command and prints its peak memory in MB."""


def peak_memory_of(*arguments):
    result = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(result.stdout.split()[-1])


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
