"""Records are tried again after an outage of the server of their pictures."""

import json
import shlex
from collections import Counter

import pyarrow.parquet as pq
import pytest

from mmfeat.store.manifest import read_manifest
from tests.faults import assert_one_error


def manifest_of(folder):
    return read_manifest(str(folder), "shards")


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
    train = ("--target", "label", "--fusion", "gmu", "--epochs", 1)
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
