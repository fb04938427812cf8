import json
import shlex
from collections import Counter
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
    train = ("--target", "label", "--epochs", 1)
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


@pytest.fixture
def web_table(make_table, picture_server):
    """Makes a table of records with two pictures on a server, and a text."""

    def make(count=12):
        rows = [
            {
                "front": picture_server.url(f"front{n}.png"),
                "back": picture_server.url(f"back{n}.png"),
                "text": f"words {n}",
                "label": "ab"[n % 2],
                "id": f"k{n:02}",
                "split": ("train", "val", "test")[n % 3],
            }
            for n in range(count)
        ]
        return make_table(rows, pictures=False)

    return make


WEB_FLAGS = (
    "--image-column", "front", "--image-column", "back=back", "--key-column", "id",
    "--allow-private", "--http-retries", 0, "--samples-per-shard", 6, "--shuffle", "none",
)  # fmt: skip


def retry_line(output):
    """Return the command that the output tells to run; None if it tells none."""
    lines = output.splitlines()
    at = next((n for n, line in enumerate(lines) if line.endswith("Try them again:")), None)
    return None if at is None else lines[at + 1].strip()


def newest_rows(read_rows, folder):
    """Return key → the last row of each key."""
    return {row["__key__"]: row for row in read_rows(folder)}


def assert_totals_equal_the_newest_rows(read_rows, folder):
    totals, rows = manifest_of(folder)["totals"], newest_rows(read_rows, folder).values()
    assert totals["records"] == len(rows) == totals["out"] + sum(totals["rejected"].values())
    assert totals["status"] == dict(Counter(row["status"] for row in rows))
    assert totals["problems"] == dict(Counter(row["reason"] for row in rows if row["reason"]))
    failed = [row for row in rows if row["status"] == "failed"]
    assert totals["rejected"] == dict(Counter(row["reason"] for row in failed))


def test_an_outage_loses_no_picture(mmfeat, web_table, picture_server, tmp_path, read_rows):
    table, out = web_table(), tmp_path / "out"
    statuses = {1: 503, 2: 429, 3: 408, 4: 500, 5: 404, 6: 403, 7: 410}
    picture_server.statuses = {f"front{n}.png": status for n, status in statuses.items()}
    result = mmfeat("shard", table, out, *WEB_FLAGS)
    assert result.returncode == 0
    rows = newest_rows(read_rows, out)
    reasons = {n: rows[f"k{n:02}"]["image_status"] for n in range(12)}
    lost = dict.fromkeys((1, 2, 3, 4), "unavailable")
    permanent = {5: "not_found", 6: "unreadable", 7: "not_found"}
    assert reasons == dict.fromkeys(range(12), "ok") | lost | permanent
    assert {rows[f"k{n:02}"]["status"] for n in statuses} == {"partial"}
    assert "4 records lack a part for a reason that can pass (image:unavailable 4)" in result.stdout
    assert retry_line(mmfeat("shard", table, out, *WEB_FLAGS).stdout)

    picture_server.statuses = {f"front{n}.png": statuses[n] for n in (4, 5, 6, 7)}
    picture_server.requests.clear()
    command = shlex.split(retry_line(result.stdout))
    assert command[0] == "mmfeat"
    result = mmfeat(*command[1:])
    assert result.returncode == 0, result.stderr
    # Only the four records were read again.
    expected = {f"{side}{n}.png" for n in (1, 2, 3, 4) for side in ("front", "back")}
    assert {*picture_server.requests} == expected
    rows = newest_rows(read_rows, out)
    assert [n for n in range(12) if rows[f"k{n:02}"]["status"] == "partial"] == [4, 5, 6, 7]
    assert len(read_rows(out)) == 12 + 3
    assert_totals_equal_the_newest_rows(read_rows, out)
    assert "1 record lacks a part" in result.stdout

    # A verdict that is permanent ends the retries.
    picture_server.statuses["front4.png"] = 404
    result = mmfeat(*shlex.split(retry_line(result.stdout))[1:])
    assert retry_line(result.stdout) is None
    assert newest_rows(read_rows, out)["k04"]["image_status"] == "not_found"
    assert_totals_equal_the_newest_rows(read_rows, out)
    result = mmfeat("shard", table, out, *WEB_FLAGS, "--retry-failed")
    assert "nothing to do" in result.stdout


def test_a_retry_never_loses_a_part(mmfeat, web_table, picture_server, tmp_path, read_rows):
    table, out = web_table(6), tmp_path / "out"
    picture_server.statuses = {"front0.png": 503, "front1.png": 503, "back1.png": 503}
    assert mmfeat("shard", table, out, *WEB_FLAGS).returncode == 0
    before = newest_rows(read_rows, out)
    # Record 0 gets its front and loses its back. Record 1 gets one of two.
    picture_server.statuses = {"back0.png": 404, "back1.png": 503}
    result = mmfeat("shard", table, out, *WEB_FLAGS, "--retry-failed")
    rows = newest_rows(read_rows, out)
    assert rows["k00"] == before["k00"]
    assert (rows["k01"]["image_status"], rows["k01"]["image_back_status"]) == ("ok", "unavailable")
    assert_totals_equal_the_newest_rows(read_rows, out)
    picture_server.statuses = {}
    result = mmfeat(*shlex.split(retry_line(result.stdout))[1:])
    assert {row["status"] for row in newest_rows(read_rows, out).values()} == {"ok"}
    assert [len(pq.read_table(path)) for path in sorted(out.glob("*.parquet"))] == [6, 1, 2]
    assert_totals_equal_the_newest_rows(read_rows, out)
    assert manifest_of(out)["totals"]["status"] == {"ok": 6}


def test_failed_records_with_a_permanent_verdict_are_not_announced(
    mmfeat, web_table, picture_server, tmp_path, read_rows
):
    table, out = web_table(6), tmp_path / "out"
    flags = (*WEB_FLAGS, "--require", "image")
    picture_server.statuses = {"front0.png": 503, "front1.png": 503}
    result = mmfeat("shard", table, out, *flags)
    assert "2 records lack a part" in result.stdout
    picture_server.statuses = {"front0.png": 404}
    result = mmfeat(*shlex.split(retry_line(result.stdout))[1:])
    assert retry_line(result.stdout) is None
    totals = manifest_of(out)["totals"]
    assert totals["rejected"] == {"image:not_found": 1}
    assert_totals_equal_the_newest_rows(read_rows, out)
    features = tmp_path / "features"
    assert mmfeat("extract", out, features).returncode == 0
    column = read_manifest(str(features), "features")["totals"]["columns"]["image"]
    assert (column["records"], column["out"], column["rejected"]) == (6, 5, {"not_found": 1})


def test_after_a_total_outage_the_same_command_reads_all_again(
    mmfeat, make_table, picture_server, tmp_path
):
    rows = [{"url": picture_server.url(f"{n}.png")} for n in range(4)]
    table, out = make_table(rows, pictures=False), tmp_path / "out"
    picture_server.statuses = {f"{n}.png": 503 for n in range(4)}
    arguments = ("shard", "--allow-private", table, out, "--http-retries", 0)
    assert "Run the same command again" in assert_one_error(mmfeat(*arguments))
    picture_server.statuses = {}
    assert mmfeat(*arguments).returncode == 0
    assert manifest_of(out)["totals"]["status"] == {"ok": 4}


def test_a_replaced_partial_row_counts_once_in_every_stage(
    mmfeat, web_table, picture_server, tmp_path
):
    table = web_table(36)
    shards, features, model, predictions = (tmp_path / name for name in "sfmp")
    lost = [f"front{n}.png" for n in range(0, 36, 4)]
    picture_server.statuses = dict.fromkeys(lost, 503)
    steps = (
        ("shard", table, shards, *WEB_FLAGS, "--retry-failed"),
        ("extract", shards, features, "--encoder", "image=builtin:image",
         "--encoder", "text=builtin:text"),
        ("score", model, features, predictions),
    )  # fmt: skip
    assert mmfeat(*steps[0][:-1]).returncode == 0
    assert mmfeat(*steps[1]).returncode == 0
    train = ("--target", "label", "--epochs", 1)
    assert mmfeat("train", features, model, *train).returncode == 0
    assert mmfeat(*steps[2]).returncode == 0
    for back in (lost[:2], lost[2:5]):
        for name in back:
            del picture_server.statuses[name]
        for step in steps:
            result = mmfeat(*step)
            assert result.returncode == 0, result.stderr
        missing = len(picture_server.statuses)
        manifest = read_manifest(str(features), "features")
        for totals in (manifest_of(shards)["totals"], manifest["totals"]):
            assert (totals["records"], totals["out"], totals["rejected"]) == (36, 36, {})
            assert totals["status"] == {"ok": 36 - missing, "partial": missing}
        columns = manifest["totals"]["columns"]
        assert (columns["text"]["records"], columns["text"]["out"]) == (36, 36)
        assert columns["text"]["status"] == {"ok": 36}
        assert (columns["image"]["records"], columns["image"]["out"]) == (36, 36 - missing)
        assert columns["image"]["rejected"] == {"unavailable": missing}
        scored = [
            row
            for path in sorted(predictions.glob("data/*.parquet"))
            for row in pq.read_table(path).to_pylist()
        ]
        assert len(scored) == len({row["__key__"] for row in scored}) == 36
        with_image = [row["__key__"] for row in scored if row["w_image"]]
        assert len(with_image) == 36 - missing
        result = mmfeat("evaluate", model, features, "--split", "all", "--json")
        assert json.loads(result.stdout)["rows"] == 36
    # A retried store has the rows and metrics of a store that saw no outage.
    picture_server.statuses = {}
    for step in steps[:2]:
        assert mmfeat(*step).returncode == 0
    whole, whole_features = tmp_path / "whole", tmp_path / "whole_features"
    assert mmfeat("shard", table, whole, *WEB_FLAGS).returncode == 0
    assert mmfeat("extract", whole, whole_features, *steps[1][3:]).returncode == 0
    for split in ("train", "val", "test"):
        retried, undisturbed = (
            json.loads(mmfeat("evaluate", model, store, "--split", split, "--json").stdout)
            for store in (features, whole_features)
        )
        assert retried["rows"] == undisturbed["rows"] == 12
        assert retried["accuracy"] == undisturbed["accuracy"]


def test_resharding_reads_only_the_newest_sample(
    mmfeat, web_table, picture_server, tmp_path, read_rows, read_samples
):
    table, out = web_table(6), tmp_path / "out"
    picture_server.statuses = {"front0.png": 503, "front1.png": 503, "front2.png": 503}
    assert mmfeat("shard", table, out, *WEB_FLAGS).returncode == 0
    for name in ("front0.png", "front1.png"):
        del picture_server.statuses[name]
        assert mmfeat("shard", table, out, *WEB_FLAGS, "--retry-failed").returncode == 0
    again = tmp_path / "again"
    result = mmfeat("shard", out, again)
    assert result.returncode == 0, result.stderr
    rows = newest_rows(read_rows, again)
    assert len(rows) == len(read_rows(again)) == manifest_of(again)["totals"]["records"] == 6
    assert {key for key, row in rows.items() if row["image_status"] == "unavailable"} == {"k02"}
    samples = read_samples(again)
    assert sum("png" in sample for sample in samples.values()) == 5
    assert "where the tars were made" in result.stdout


def test_a_retry_finds_duplicates(mmfeat, web_table, picture_server, tmp_path, read_rows):
    """The server answers every name with one picture, so only one record may keep its front."""
    table, out = web_table(4), tmp_path / "out"
    flags = (*WEB_FLAGS, "--dedup", "exact")
    picture_server.statuses = {"front0.png": 503, "back0.png": 503, "back2.png": 503}
    assert mmfeat("shard", table, out, *flags).returncode == 0
    names = ("image_status", "image_back_status")
    rows = newest_rows(read_rows, out)
    assert [tuple(rows[f"k0{n}"][name] for name in names) for n in range(4)] == [
        ("unavailable", "unavailable"),
        ("ok", "ok"),
        ("duplicate", "unavailable"),
        ("duplicate", "duplicate"),
    ]
    picture_server.statuses = {"back0.png": 503}
    assert mmfeat("shard", table, out, *flags, "--retry-failed").returncode == 0
    picture_server.statuses = {}
    assert mmfeat("shard", table, out, *flags, "--retry-failed").returncode == 0
    rows = newest_rows(read_rows, out)
    assert [tuple(rows[f"k0{n}"][name] for name in names) for n in range(4)] == [
        ("duplicate", "duplicate"),
        ("ok", "ok"),
        ("duplicate", "duplicate"),
        ("duplicate", "duplicate"),
    ]
    assert_totals_equal_the_newest_rows(read_rows, out)
    assert retry_line(mmfeat("shard", table, out, *flags).stdout) is None


def test_after_a_total_outage_duplicates_are_sought_again(
    mmfeat, make_table, picture_server, tmp_path
):
    rows = [{"url": picture_server.url(f"{n}.png")} for n in range(3)]
    table, out = make_table(rows, pictures=False), tmp_path / "out"
    picture_server.statuses = {f"{n}.png": 503 for n in range(3)}
    arguments = ("shard", "--allow-private", table, out, "--http-retries", 0, "--dedup", "exact")
    assert_one_error(mmfeat(*arguments))
    picture_server.statuses = {}
    assert mmfeat(*arguments).returncode == 0
    assert manifest_of(out)["totals"]["status"] == {"failed": 2, "ok": 1}
