import csv
import random
import resource
import subprocess
import sys
import tarfile
import time
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mmfeat.encoders import SCHEMES, Encoder
from mmfeat.features.store import FeatureStore
from mmfeat.store.directory import read_receipt
from tests.faults import contents, kill, noisy_table, one_line_of, wait_for

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three hundred records."""
    return noisy_table(tmp_path_factory.mktemp("raw"), 300, 16)


@pytest.fixture
def shards(mmfeat, pictures, tmp_path):
    """Their shards, thirty of ten records."""
    result = mmfeat("shard", pictures, tmp_path / "shards", "--samples-per-shard", 10)
    assert result.returncode == 0, result.stderr
    return tmp_path / "shards"


@pytest.fixture
def few(mmfeat, toy_table, tmp_path):
    """Sixty records in six shards."""
    assert mmfeat("shard", toy_table, tmp_path / "few", "--samples-per-shard", 10).returncode == 0
    return tmp_path / "few"


MOMENTS = ("time", "receipts", "receipts", "temporary")


@pytest.mark.slow
def test_killed_fourteen_times_at_any_moment_the_store_is_that_of_an_undisturbed_run(
    mmfeat, mmfeat_process, shards, tmp_path, whole_of
):
    assert mmfeat("extract", shards, tmp_path / "whole").returncode == 0
    whole = whole_of(tmp_path / "whole")
    chance = random.Random(14)
    out, kills, rounds = tmp_path / "0", 0, 0

    def receipts():
        return len(list(out.rglob("*_stats.json")))

    while kills < 14:
        left = set(out.rglob(".*.tmp-*"))
        process = mmfeat_process("extract", shards, out)
        wanted = receipts() + chance.randint(0, 4)
        moment = chance.choice(MOMENTS) if kills else "claim"
        if moment == "time":
            time.sleep(chance.uniform(0.5, 2.5))
        elif moment == "claim":
            wait_for(process, (out / "image" / "column.json").exists)
            time.sleep(chance.uniform(0, 0.2))
        elif moment == "receipts":
            wait_for(process, lambda n=wanted: receipts() > n)
        else:
            wait_for(process, lambda o=out, n=left: not set(o.rglob(".*.tmp-*")) <= n)
        kills += kill(process)
        if (out / "manifest.json").exists():
            assert mmfeat("extract", shards, out).returncode == 0
            assert whole_of(out) == whole
            rounds += 1
            out = tmp_path / str(rounds)
    result = mmfeat("extract", shards, out)
    assert result.returncode == 0, result.stderr
    assert whole_of(out) == whole


def reasons_of(folder, column):
    """Shard → why each of its rows has no feature."""
    found = FeatureStore(str(folder))
    return {shard: found.read_column(column, shard).reasons.to_pylist() for shard in found.shards}


EXPECTED = {
    ("cut", "at a member", "image"): None,
    ("noise", "at a member", "image"): None,
    ("noise", "in a content", "image"): "undecodable",
}
"""Damage, place, column → what becomes of the picture that stands just before the break."""


@pytest.mark.parametrize("place", ["at a record", "at a member", "in a header", "in a content"])
@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_tar_that_breaks_costs_what_is_behind_the_break_and_no_other_shard(
    mmfeat, few, tmp_path, damage, place
):
    assert mmfeat("extract", few, tmp_path / "whole").returncode == 0
    tar = few / "00003.tar"
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
    result = mmfeat("extract", few, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    out = FeatureStore(str(tmp_path / "out"))
    for column in ("image", "text"):
        reasons = reasons_of(tmp_path / "out", column)
        lost = reasons.pop("00003")
        assert {reason for rows in reasons.values() for reason in rows} == {None}
        assert lost[:4] == [None] * 4
        assert lost[5:] == ["damaged_shard"] * 5
        assert lost[4] == EXPECTED.get((damage, place, column), "damaged_shard")
        receipt = read_receipt(str(tmp_path / "out" / column), "00003")
        assert receipt.records == 10
        assert receipt.rejected == Counter(filter(None, lost))
        assert receipt.out == lost.count(None)
        assert out.manifest["totals"]["columns"][column]["rejected"] == receipt.rejected
        for shard in reasons:
            name = f"{column}/{shard}.arrow"
            assert (tmp_path / "out" / name).read_bytes() == (
                tmp_path / "whole" / name
            ).read_bytes()


def test_a_store_that_fails_now_and_then_comes_out_the_same(mmfeat, few, flaky):
    for path in few.iterdir():
        flaky().pipe_file(f"/in/{path.name}", path.read_bytes())
    assert mmfeat("extract", "flaky://in", "flaky://whole").returncode == 0
    flaky.part = 0.03
    for _ in range(200):
        result = mmfeat("extract", "flaky://in", "flaky://out", "--threads", 1)
        if result.returncode == 0:
            break
        one_line_of(result.stderr)
    flaky.part = 0.0
    assert result.returncode == 0, result.stderr
    assert flaky.failed
    assert contents("/out") == contents("/whole")


def test_a_full_disk_is_one_line_and_with_more_room_the_run_goes_on(
    mmfeat, shards, tmp_path, whole_of, small_disk
):
    place, mount = small_disk
    assert mmfeat("extract", shards, tmp_path / "whole").returncode == 0
    for size in ("200k", "1m", "2m"):
        assert mount(f"remount,size={size}")
        result = mmfeat("extract", shards, place / "out")
        assert result.returncode == 1
        one_line_of(result.stderr)
        assert "No space left" in result.stderr, result.stderr
        assert not list((place / "out").rglob(".*"))
        for column in ("image", "text", "samples"):
            for receipt in (place / "out" / column).glob("*_stats.json"):
                shard = receipt.name.removesuffix("_stats.json")
                assert read_receipt(str(receipt.parent), shard)
    assert mount("remount,size=50m")
    result = mmfeat("extract", shards, place / "out")
    assert result.returncode == 0, result.stderr
    assert whole_of(place / "out") == whole_of(tmp_path / "whole")


@pytest.mark.parametrize("limit", [4_000, 60_000])
def test_a_file_that_may_not_grow_is_one_line_and_without_the_limit_the_run_goes_on(
    mmfeat, few, tmp_path, whole_of, limit
):
    result = subprocess.run(
        [sys.executable, "-m", "mmfeat", "extract", few, tmp_path / "out"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 1, result.stderr
    assert "File too large" in one_line_of(result.stderr)
    assert not list((tmp_path / "out").rglob(".*"))
    assert not list((tmp_path / "out" / "text").glob("*.arrow"))
    assert mmfeat("extract", few, tmp_path / "out").returncode == 0
    assert mmfeat("extract", few, tmp_path / "whole").returncode == 0
    assert whole_of(tmp_path / "out") == whole_of(tmp_path / "whole")


class Lengths(Encoder):
    """A text's number and what goes wrong with some; `tokens` gives a vector for each word."""

    modality = "text"
    dim = 2

    def __init__(self, name):
        self.name = name
        self.max_tokens = 8 if name == "tokens" else 0

    def identity(self):
        return {"name": f"test:{self.name}"}

    def decode(self, data):
        return data.decode().split()

    def encode(self, batch):
        if self.max_tokens:
            return [np.array([[len(word), 1] for word in words]) for words in batch]
        numbers = [int(words[-1]) for words in batch]
        if self.name == "raises" and 17 in numbers:
            raise ValueError("not 17")
        features = np.array([[number, 1] for number in numbers], np.float32)
        if self.name == "not_finite":
            for number, bad in ((3, np.nan), (5, np.inf), (7, -np.inf), (9, 1e6)):
                features[np.equal(numbers, number), 0] = bad
        return features


@pytest.fixture
def lengths(monkeypatch):
    """The scheme `test:` of the encoder above."""
    module = types.ModuleType("encoders_of_the_test")
    module.load = lambda name, modality, options, settings: Lengths(name)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(SCHEMES, "test", module.__name__)


@pytest.mark.parametrize(
    ("name", "dtype", "reason", "bad"),
    [
        ("not_finite", "float16", "not_finite", {3, 5, 7, 9}),
        ("not_finite", "float32", "not_finite", {3, 5, 7}),
        ("raises", "float16", "encoder_failed", {17}),
    ],
)
def test_a_record_that_gives_no_feature_is_a_row_with_its_reason_and_costs_no_other(
    mmfeat, few, tmp_path, lengths, name, dtype, reason, bad
):
    encoder = f"text=test:{name}?dtype={dtype}"
    result = mmfeat("extract", few, tmp_path / "out", "--encoder", encoder)
    assert result.returncode == 0, result.stderr
    out = FeatureStore(str(tmp_path / "out"))
    for shard, column in out.read(["text"]):
        keys = out.read_samples(shard)["__key__"].to_pylist()
        rows = zip(keys, column["text"].features, column["text"].reasons.to_pylist(), strict=True)
        for key, feature, why in rows:
            number = int(key[1:])
            assert why == (reason if number in bad else None)
            expected = (
                [0, 0]
                if number in bad
                else [1e6 if (name, number) == ("not_finite", 9) else number, 1]
            )
            assert feature.tolist() == expected
    totals = out.manifest["totals"]["columns"]["text"]
    assert (totals["out"], totals["rejected"]) == (60 - len(bad), {reason: len(bad)})
    assert totals["status"] == {"failed": len(bad), "ok": 60 - len(bad)}


def test_columns_made_in_one_pass_are_those_made_one_by_one(mmfeat, few, tmp_path):
    for column in ("image", "text"):
        encoder = f"{column}=builtin:{column}"
        assert mmfeat("extract", few, tmp_path / "out", "--encoder", encoder).returncode == 0
    assert mmfeat("extract", few, tmp_path / "both").returncode == 0
    files = sorted(path.relative_to(tmp_path / "both") for path in (tmp_path / "both").rglob("*"))
    for name in files:
        if name.suffix in {".arrow", ".parquet"} or name.name in {"manifest.json", "column.json"}:
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "both" / name).read_bytes()


def test_columns_that_are_added_are_all_that_is_computed_and_all_can_be_read(
    mmfeat, few, tmp_path, lengths
):
    assert mmfeat("extract", few, tmp_path / "out").returncode == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    added = (
        "--encoder",
        "words:text=test:tokens",
        "--encoder",
        "exact:text=builtin:text?dtype=float32",
    )
    result = mmfeat("extract", few, tmp_path / "out", *added)
    assert result.returncode == 0, result.stderr
    assert [p for p, t in before.items() if p.stat().st_mtime_ns != t] == [
        tmp_path / "out" / "manifest.json"
    ]
    out = FeatureStore(str(tmp_path / "out"))
    assert {name: (c.dtype, c.max_tokens) for name, c in out.columns.items()} == {
        "exact": ("float32", 0),
        "image": ("float16", 0),
        "text": ("float16", 0),
        "words": ("float16", 8),
    }
    for shard, columns in out.read(list(out.columns)):
        exact, text, words = columns["exact"], columns["text"], columns["words"]
        assert exact.features.dtype == np.float32
        np.testing.assert_array_equal(exact.features.astype(np.float16), text.features)
        assert len(words.offsets) == out.shards[shard] + 1
        assert words.features.shape == (words.offsets[-1], 2)
        assert set(np.diff(words.offsets)) <= {5, 6}
        assert (words.features[:, 1] == 1).all()


PEAK = """
import sys
from mmfeat import cli
from mmfeat.console import peak_memory_mb
if code := cli.main(sys.argv[1:]):
    sys.exit(code)
print(peak_memory_mb())
"""
"""A command that tells its peak memory."""


def peak_of(*arguments):
    """Peak memory of a command in MB."""
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
        rows = [lines[2 + n % 48] for n in range(50 * times)]  # of those that can be decoded
        table = tmp_path / f"{times}.csv"
        table.write_text("\n".join([lines[0], *(f"{pictures.parent}/{row}" for row in rows)]))
        flags = ("--samples-per-shard", 50, "--allow-outside")
        assert mmfeat("shard", table, tmp_path / f"shards{times}", *flags).returncode == 0
    peaks = {}
    for attempt in range(3):  # a busy machine may leave threads with more at once
        for times in (1, 4, 16):
            peak = peak_of("extract", tmp_path / f"shards{times}", tmp_path / f"{times}-{attempt}")
            peaks[times] = min(peak, peaks.get(times, peak))
        if max(peaks.values()) <= 1.05 * min(peaks.values()):
            break
    print(f"peak memory in MB: {peaks}")
    assert max(peaks.values()) <= 1.05 * min(peaks.values())


def test_of_the_ugly_pictures_every_one_is_a_row_and_none_ends_the_run(mmfeat, real_data, tmp_path):
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
