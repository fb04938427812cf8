import json
import random
import shutil
import tarfile
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from mmfeat.cli.verify import main as verify_command
from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from mmfeat.store import json_digest, keys_digest, open_run, record_file, write_manifest
from mmfeat.verification import uncommit, verify, verify_store
from tests.faults import assert_one_error
from tests.figures import COUNTS
from tests.mmfeat.verification.conftest import COMMANDS

FORMAT_1 = Path(__file__).parents[2] / "data" / "format_1"

UNCHECKED = ("report.html",)
"""Files that no receipt records."""

FLIPS = 320


def flip_bit(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def is_noticed(store):
    try:
        return bool(verify_store(store).all_damages)
    except MmfeatError:  # no document is intact
        return True


@pytest.mark.parametrize("store", COMMANDS)
def test_an_intact_store_has_no_damage(stores, store):
    result = verify_store(store)
    assert (result.kind, result.finished, result.damages) == (store, True, [])
    assert result.bytes > 1000
    assert result.shards == result.all_shards
    assert result.all_shards == (0 if store == "model" else len(list(Path(store).glob("0*_st*"))))


@pytest.mark.slow
def test_every_flipped_bit_is_noticed(stores):
    """Also in receipts and manifests. A bit in the word `checksum` itself changes no content."""
    rng = random.Random(20)
    paths = [
        path
        for path in sorted(stores.rglob("*"))
        if path.is_file() and path.name not in UNCHECKED and path.parts[len(stores.parts)] != "raw"
    ]
    unnoticed = []
    for number in range(FLIPS):
        path = paths[number % len(paths)]
        whole = path.read_bytes()
        bit = rng.randrange(8 * len(whole))
        flip_bit(path, bit)
        COUNTS["flipped bits"] += 1
        if not is_noticed(str(stores / path.parts[len(stores.parts)])):
            value = json.loads(path.read_bytes()) if path.suffix == ".json" else None
            before = json.loads(whole) if path.suffix == ".json" else value
            if value is None or any(value[key] != before[key] for key in value if key in before):
                unnoticed.append((path, bit))
        path.write_bytes(whole)
    assert unnoticed == []


@pytest.mark.parametrize(
    "name",
    [
        "shards/00001.tar",
        "shards/00001.parquet",
        "features/image/00001.arrow",
        "features/samples/00001.parquet",
        "predictions/data/00001.parquet",
        "model/model.safetensors",
        "model/predictions.parquet",
        "model/log.jsonl",
    ],
)
@pytest.mark.parametrize("damage", ["bit", "cut", "zeros", "missing"])
def test_each_damaged_file_is_named(stores, name, damage):
    path = Path(name)
    data = path.read_bytes()
    half = len(data) // 2
    if damage == "bit":
        flip_bit(path, 8 * half)
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:half] + bytes(len(data) - half if damage == "zeros" else 0))
    damages = verify_store(name.partition("/")[0]).damages
    assert [found.path for found in damages] == [name]


def swap(folder, suffix):
    first, second = Path(folder, f"00000{suffix}"), Path(folder, f"00001{suffix}")
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


@pytest.mark.parametrize(
    ("folder", "suffix", "store"),
    [
        ("shards", ".tar", "shards"),
        ("features/image", ".arrow", "features"),
        ("features", "_stats.json", "features"),
        ("predictions/data", ".parquet", "predictions"),
    ],
)
def test_swapped_files_are_damage(stores, folder, suffix, store):
    swap(folder, suffix)
    assert len(verify_store(store).damages) == 2


def rewrite_receipt(path, **changes):
    """Change a receipt as a program would that writes valid receipts."""
    receipt = files.read_json(path)
    receipt |= changes
    files.write_json(path, receipt)


def test_a_receipt_of_other_records_does_not_align(stores):
    """The column is intact, and so is its receipt; but it is of other keys."""
    path = "features/columns/image/00001_stats.json"
    rewrite_receipt(path, keys_sha256=keys_digest(["other"]))
    (damage,) = verify_store("features").damages
    assert (damage.path, damage.problem) == (path, "contradicts the manifest: keys_sha256")


def test_keys_are_counted_from_the_table(stores):
    """A table of other keys with a receipt that fits its bytes."""
    path = "predictions/data/00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(list(range(len(table)))[::-1]), path)
    rewrite_receipt("predictions/00001_stats.json", files={"data/00001.parquet": record_file(path)})
    (damage,) = verify_store("predictions").damages
    assert (damage.path, damage.problem) == (path, "has other keys than its receipt")


def test_webdataset_reads_the_samples_of_the_table(stores):
    """A tar without its last sample, with a receipt and a manifest that fit its bytes."""
    path, shorter = "shards/00001.tar", "shorter.tar"
    with tarfile.open(path) as source, tarfile.open(shorter, "w") as target:
        members = source.getmembers()
        last = members[-1].name.partition(".")[0]
        for member in members:
            if not member.name.startswith(last):
                target.addfile(member, source.extractfile(member))
    shutil.move(shorter, path)
    recorded = files.read_json("shards/00001_stats.json")["files"]
    recorded["00001.tar"] = record_file(path)
    rewrite_receipt("shards/00001_stats.json", files=recorded)
    manifest = files.read_json("shards/manifest.json")
    manifest["shards"][1]["sha256"] = recorded["00001.tar"]["sha256"]
    files.write_json("shards/manifest.json", manifest)
    (damage,) = verify_store("shards").damages
    assert damage.path == path
    assert damage.problem == f"has the sample None where the table has {last!r}"


def test_totals_of_the_manifest_are_those_of_the_receipts(stores):
    manifest = files.read_json("predictions/manifest.json")
    manifest["totals"]["out"] -= 1
    files.write_json("predictions/manifest.json", manifest)
    (damage,) = verify_store("predictions").damages
    assert damage.path == "predictions/manifest.json"
    assert "its receipts" in damage.problem


def test_a_sample_checks_some_shards_and_says_which(stores, mmfeat):
    result = verify_store("features", sample=0.25, seed=1)
    assert (result.shards, result.all_shards, result.files) == (1, 4, 3)
    found = set()
    for shard in ("00000", "00001", "00002", "00003"):
        flip_bit(Path(f"features/image/{shard}.arrow"), 999)
    for seed in range(12):
        (damage,) = verify_store("features", sample=0.25, seed=seed).damages
        found.add(damage.path)
        again = verify_store("features", sample=0.25, seed=seed).damages
        assert [other.path for other in again] == [damage.path]
    assert len(found) > 2
    result = mmfeat("verify", "features", "--sample", "0.25", "--seed", "7")
    assert result.returncode == 1
    assert "1 of 4" in result.stdout
    assert "--sample 0.25 --seed 7" in result.stdout


def test_an_unfinished_store_is_verified_by_its_receipts(stores):
    for store in ("shards", "features", "predictions"):
        Path(store, "manifest.json").unlink()
        result = verify_store(store)
        assert (result.finished, result.damages) == (False, [])
        assert result.files == {"shards": 8, "features": 12, "predictions": 4}[store]
    flip_bit(Path("features/text/00002.arrow"), 999)
    Path("features/image/00000_stats.json").unlink(missing_ok=True)
    assert [d.path for d in verify_store("features").damages] == ["features/text/00002.arrow"]


def test_the_command_names_each_damaged_file_and_fails(stores, mmfeat):
    names = ("shards/00000.tar", "shards/00002.parquet")
    for name in names:
        flip_bit(Path(name), 5000)
    result = mmfeat("verify", "shards")
    line = assert_one_error(result)
    assert "2 files are damaged in shards" in line
    assert "mmfeat shard INPUT shards" in line
    for name in names:
        assert f"damaged: {name} has another sha256 than its receipt" in result.stdout
    assert mmfeat("verify", "features").returncode == 0


def test_a_store_in_memory_is_verified(stores):
    memory = fsspec.filesystem("memory")
    memory.put("features", "/verified/features", recursive=True)
    assert verify_store("memory://verified/features").damages == []
    content = bytearray(memory.cat("/verified/features/image/00001.arrow"))
    content[len(content) // 2] ^= 1
    memory.pipe("/verified/features/image/00001.arrow", bytes(content))
    (damage,) = verify_store("memory://verified/features").damages
    assert damage.path == "memory://verified/features/image/00001.arrow"


def test_many_tars_are_checked_in_processes(stores, monkeypatch):
    monkeypatch.setattr(verify, "_MIN_RECORDS", 1)
    assert verify_store("shards").damages == []
    flip_bit(Path("shards/00001.tar"), 9999)
    assert [damage.path for damage in verify_store("shards").damages] == ["shards/00001.tar"]


@pytest.mark.parametrize("store", COMMANDS)
def test_stores_of_format_1_are_verified_by_their_sha256(store, tmp_path):
    folder = tmp_path / store
    shutil.copytree(FORMAT_1 / store, folder)
    result = verify_store(str(folder))
    assert (result.finished, result.damages) == (True, [])
    suffix = {"shards": ".tar", "features": ".arrow", "predictions": ".parquet"}.get(
        store, ".safetensors"
    )
    path = next(folder.rglob(f"*{suffix}"))
    flip_bit(path, 8 * 200)
    assert [damage.path for damage in verify_store(str(folder)).damages] == [str(path)]


@pytest.fixture
def comparison(stores):
    """A comparison as `mmfeat compare` writes it, with the model as its winner."""
    config = {"target": "label"}
    open_run("comparison", "comparison", config)
    shutil.copytree("model", "comparison/winner")
    Path("comparison/leaderboard.parquet").write_bytes(b"PAR1 rows PAR1")
    write_manifest(
        "comparison",
        "comparison",
        json_digest(config),
        files={"leaderboard.parquet": record_file("comparison/leaderboard.parquet")},
        winner={"name": "gmu", "model": "comparison/winner"},
    )
    return "comparison"


def test_a_comparison_is_verified_with_its_winner(comparison):
    result = verify_store(comparison)
    assert (result.finished, result.all_damages) == (True, [])
    assert result.files == 6


@pytest.mark.parametrize("name", ["leaderboard.parquet", "winner/model.safetensors"])
def test_fix_un_commits_a_comparison_with_a_damaged_file(comparison, name):
    path = Path(comparison, name)
    flip_bit(path, 50)
    result = verify_store(comparison)
    assert str(path) in [damage.path for damage in result.all_damages]
    uncommit(result)
    assert not path.exists()
    assert not Path(comparison, "manifest.json").exists()
    assert Path(comparison, "winner/manifest.json").exists() == (name == "leaderboard.parquet")
    assert Path(comparison, "config.json").exists()


@pytest.mark.parametrize("sample", ["0", "-1", "1.5"])
def test_a_share_is_above_zero_and_at_most_one(stores, sample):
    with pytest.raises(MmfeatError, match="--sample"):
        verify_command(["shards", "--sample", sample])


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(MmfeatError, match=r"config\.json"):
        verify_store(str(tmp_path))
