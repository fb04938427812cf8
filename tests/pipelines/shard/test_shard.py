import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset

from mmfeat.store.manifest import read_manifest
from tests.faults import kill, wait_for


def rows_by_key(folder):
    tables = sorted(Path(folder).glob("*.parquet"))
    return {row["__key__"]: row for table in tables for row in pq.read_table(table).to_pylist()}


def data_files(folder):
    """Files of a store that do not depend on how it was made."""
    return {p.name: p.read_bytes() for p in sorted(Path(folder).glob("0*")) if p.suffix != ".json"}


@pytest.fixture
def damaged_table(make_table, tmp_path):
    """A table with ok, partial and failed records."""
    table = make_table(
        [
            {"file_name": "whole.png", "text": "words", "label": "a", "status": "new"},
            {"file_name": "", "text": "text alone", "label": "b", "status": ""},
            {"file_name": "alone.png", "text": "", "label": "c", "status": "old"},
            {"file_name": "page.png", "text": "with a page", "label": "d", "status": ""},
            {"file_name": "", "text": "", "label": "e", "status": ""},
            {"file_name": "whole.png", "text": "the same picture", "label": "f", "status": ""},
            {"file_name": "../../etc/passwd", "text": "", "label": "g", "status": ""},
        ]
    )  # fmt: skip
    (table.parent / "page.png").write_text("<html>404</html>")
    return table


def test_every_record_has_a_row_with_its_status(mmfeat, damaged_table, tmp_path):
    result = mmfeat("shard", damaged_table, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    rows = rows_by_key(tmp_path / "out")
    assert {key: (row["status"], row["reason"]) for key, row in rows.items()} == {
        "whole~0": ("ok", None),
        "row~1": ("partial", "image:missing"),
        "alone": ("partial", "text:missing"),
        "page": ("partial", "image:undecodable"),
        "row~4": ("failed", "image:missing, text:missing"),
        "whole~5": ("ok", None),
        "row~6": ("failed", "image:outside, text:missing"),
    }
    assert rows["whole~0"]["label"] == "a"
    assert rows["whole~0"]["meta_status"] == "new"
    assert rows["page"]["image_status"] == "undecodable"
    manifest = read_manifest(str(tmp_path / "out"), "shards")
    assert manifest["totals"]["records"] == 7
    assert manifest["totals"]["out"] == 5
    assert sum(manifest["totals"]["rejected"].values()) == 2
    assert "image:outside, text:missing" in result.stdout


def test_the_tar_has_the_rows_that_did_not_fail(mmfeat, damaged_table, tmp_path):
    mmfeat("shard", damaged_table, tmp_path / "out")
    url = str(tmp_path / "out" / "00000.tar")
    samples = {s["__key__"]: s for s in webdataset.WebDataset(url, shardshuffle=False)}
    rows = rows_by_key(tmp_path / "out")
    assert list(samples) == [key for key, row in rows.items() if row["status"] != "failed"]
    assert samples["row~1"]["txt"] == b"text alone"
    assert json.loads(samples["whole~0"]["json"])["status"] == "new"
    assert {"png", "txt", "json"} <= samples["whole~0"].keys()


def test_require_rejects_partial_records(mmfeat, damaged_table, tmp_path):
    flags = ("--require", "image,text")
    assert mmfeat("shard", damaged_table, tmp_path / "out", *flags).returncode == 0
    statuses = [row["status"] for row in rows_by_key(tmp_path / "out").values()]
    assert sorted(statuses) == ["failed"] * 5 + ["ok"] * 2


def test_a_second_run_does_nothing(mmfeat, toy_table, tmp_path):
    mmfeat("shard", toy_table, tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    result = mmfeat("shard", toy_table, tmp_path / "out")
    assert result.returncode == 0
    assert "nothing to do" in result.stdout
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()} == before


def test_another_configuration_is_refused(mmfeat, toy_table, tmp_path):
    mmfeat("shard", toy_table, tmp_path / "out")
    result = mmfeat("shard", toy_table, tmp_path / "out", "--samples-per-shard", "7")
    assert result.returncode == 1
    assert "--samples-per-shard was 1000, is 7 now" in result.stderr
    toy_table.write_text(toy_table.read_text() + "p000.png,one more,cat,train\n")
    assert "source.sha256" in mmfeat("shard", toy_table, tmp_path / "out").stderr


def test_only_a_lost_shard_is_made_again(mmfeat, toy_table, tmp_path):
    mmfeat("shard", toy_table, tmp_path / "out", "--samples-per-shard", "20")
    before = data_files(tmp_path / "out")
    (tmp_path / "out" / "00001.tar").unlink()
    result = mmfeat("shard", toy_table, tmp_path / "out", "--samples-per-shard", "20")
    assert "2 of 3 shards are done" in result.stdout
    assert data_files(tmp_path / "out") == before


def test_the_store_does_not_depend_on_threads(mmfeat, toy_table, tmp_path):
    for threads in (1, 8):
        mmfeat("shard", toy_table, tmp_path / str(threads), "--threads", threads)
    assert data_files(tmp_path / "1") == data_files(tmp_path / "8")


def test_a_failed_shard_is_reported_and_retried(mmfeat, toy_table, tmp_path, monkeypatch, caplog):
    from mmfeat.sharding.stage import Sharding

    caplog.set_level("DEBUG", "mmfeat")
    process = Sharding.process

    def broken(self, task, loaded):
        if task.shard == "00001":
            raise RuntimeError("a bad moment")
        return process(self, task, loaded)

    monkeypatch.setattr(Sharding, "process", broken)
    result = mmfeat("shard", toy_table, tmp_path / "out", "--samples-per-shard", "20")
    assert result.returncode == 1
    assert "1 of 3 shards" in result.stderr
    assert "a bad moment" in result.stderr
    assert "Traceback" not in result.stderr
    assert "shard 00001 failed\nTraceback" in caplog.text
    assert (tmp_path / "out" / "00002_stats.json").exists()
    assert not (tmp_path / "out" / "manifest.json").exists()
    monkeypatch.setattr(Sharding, "process", process)
    assert mmfeat("shard", toy_table, tmp_path / "out", "--samples-per-shard", "20").returncode == 0
    assert not list((tmp_path / "out").glob("*_failed.json"))


def test_storage_errors_are_retried(mmfeat, toy_table, tmp_path, monkeypatch):
    from mmfeat.sharding.stage import Sharding

    process, calls = Sharding.process, []

    def flaky(self, task, loaded):
        calls.append(task.shard)
        if len(calls) < 3:
            raise OSError("connection reset")
        return process(self, task, loaded)

    monkeypatch.setattr(Sharding, "process", flaky)
    assert mmfeat("shard", toy_table, tmp_path / "out").returncode == 0
    assert calls == ["00000"] * 3


def test_no_usable_record_is_an_error_with_the_reasons(mmfeat, make_table, tmp_path):
    table = make_table([{"file_name": f"{i}.png"} for i in range(3)], pictures=False)
    result = mmfeat("shard", table, tmp_path / "out")
    assert result.returncode == 1
    assert "none of the 3 records" in result.stderr
    assert "image:not_found 3" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_table_without_rows_is_an_error(mmfeat, tmp_path):
    (tmp_path / "t.csv").write_text("file_name,text\n")
    result = mmfeat("shard", tmp_path / "t.csv", tmp_path / "out")
    assert (result.returncode, "holds no records" in result.stderr) == (1, True)


def test_duplicate_keys_are_an_error_or_get_a_suffix(mmfeat, make_table, tmp_path):
    table = make_table([{"file_name": f"{i}.png", "id": "same"} for i in range(2)])
    result = mmfeat("shard", table, tmp_path / "out", "--key-column", "id")
    assert result.returncode == 1
    assert "rows 0 and 1" in result.stderr
    arguments = ("--key-column", "id", "--duplicate-keys", "suffix")
    assert mmfeat("shard", table, tmp_path / "out2", *arguments).returncode == 0
    assert set(rows_by_key(tmp_path / "out2")) == {"same~0", "same~1"}


@pytest.mark.parametrize("after", [50, 200, 399])
def test_a_killed_run_resumes_to_the_same_store(
    mmfeat, mmfeat_process, make_table, picture_server, tmp_path, after
):
    rows = [{"url": picture_server.url(f"{i:04}.png"), "text": f"t{i}"} for i in range(400)]
    table = make_table(rows, pictures=False)
    arguments = (table, tmp_path / "out", "--samples-per-shard", "10")
    mmfeat("shard", "--allow-private", table, tmp_path / "whole", "--samples-per-shard", "10")
    picture_server.pause_after(after)
    process = mmfeat_process("shard", "--allow-private", *arguments)
    assert wait_for(process, lambda: picture_server.answered == after)
    assert kill(process)
    picture_server.released.set()
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert mmfeat("shard", "--allow-private", *arguments).returncode == 0
    assert data_files(tmp_path / "out") == data_files(tmp_path / "whole")
    assert not list((tmp_path / "out").glob(".*"))
    assert not (tmp_path / "out" / "_plan").exists()


def test_a_kill_before_the_manifest_leaves_no_plan(mmfeat, toy_table, tmp_path, monkeypatch):
    from mmfeat.sharding import stage

    def killed(*arguments, **facts):
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "write_manifest", killed)
    mmfeat("shard", toy_table, tmp_path / "out")
    monkeypatch.undo()
    assert not (tmp_path / "out" / "_plan").exists()
    assert mmfeat("shard", toy_table, tmp_path / "out").returncode == 0
    assert not (tmp_path / "out" / "_plan").exists()
    assert (tmp_path / "out" / "manifest.json").exists()


def test_tar_members_have_no_owner_and_no_time(mmfeat, toy_table, tmp_path):
    mmfeat("shard", toy_table, tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "00000.tar") as tar:
        members = tar.getmembers()
    assert all(m.isreg() and (m.uid, m.gid, m.mtime, m.mode) == (0, 0, 0, 0o644) for m in members)
