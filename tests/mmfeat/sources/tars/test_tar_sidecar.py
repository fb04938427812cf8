import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.sharding.shard_plan import ShardLayout, read_planned_records, write_plan
from mmfeat.sources.registry import open_source
from mmfeat.sources.tars import tar_sidecar
from mmfeat.storage import files
from tests.mmfeat.manifests import shard_entry, shards_manifest
from tests.mmfeat.sources.tars.tar_inputs import reasons, records_of, sample, write_store, write_tar


def test_a_manifest_with_fewer_kinds_than_columns_is_refused(monkeypatch):
    manifest = {
        "config_hash": "0",
        "shards": [],
        "columns": {"a": "string", "b": "string"},
        "kinds": {"a": "string"},
    }
    monkeypatch.setattr(tar_sidecar, "_read_own_manifest", lambda folder: manifest)
    with pytest.raises(DamagedFileError, match="a kind for each of its 2 columns; got 1"):
        tar_sidecar.TarStore("store", [])


def test_reasons_and_errors_that_are_no_texts_are_left_out(tmp_path):
    row = {"__key__": "a", "status": "partial", "reason": "image:missing", "error": b"image: x"}
    store = tar_sidecar.TarStore(str(tmp_path), [])
    assert store.parse_row(row) == ({}, {"image": ("missing", "")})
    assert store.parse_row({**row, "reason": 3}) == ({}, {})


def test_resharding_keeps_keys_statuses_and_reasons(tmp_path):
    problems = {
        "image": ("not_found", "a; b.png"),
        "text": ("missing", ""),
    }
    write_store(
        tmp_path,
        [
            sample(0, "👩‍🚀~7", png=b"p", txt=b"t"),
            sample(1, "part", {"text": ("empty", "blank")}, png=b"p"),
            sample(2, "lost~5", problems),
            sample(3, "row~3", {"": ("malformed_row", "line 5: 1 cell")}),
            sample(4, "cls", {"jpg": ("duplicate", "")}, png=b"p", txt=b"t"),
        ],
    )
    ok, partial, extra, lost, row = records_of(tmp_path)
    assert (ok.key, ok.problems, ok.metadata) == ("👩‍🚀~7", {}, {"n": 0})
    assert (partial.key, partial.problems) == ("part", {"text": ("empty", "blank")})
    assert extra.problems == {"jpg": ("duplicate", "")}
    assert (lost.key, lost.metadata, reasons(lost)) == (
        "lost~5", {"n": 2}, {"image": "not_found", "text": "missing"},
    )  # fmt: skip
    assert (row.key, row.problems) == ("row~3", {"": ("malformed_row", "line 5: 1 cell")})
    assert [record.row for record in (ok, partial, extra, lost, row)] == list(range(5))


def test_a_metadata_column_may_end_in_status(tmp_path):
    lost = sample(0, "a", {"image": ("not_found", "")})
    lost.record.metadata["marital_status"] = "missing"
    kept = sample(1, "b", png=b"p", txt=b"t")
    kept.record.metadata["marital_status"] = "missing"
    write_store(tmp_path, [lost, kept], kinds={"marital_status": "string"})
    kept, lost = records_of(tmp_path)
    assert (kept.problems, kept.metadata["marital_status"]) == ({}, "missing")
    assert reasons(lost) == {"image": "not_found"}


def test_failures_of_img2dataset_are_kept(tmp_path):
    write_tar(
        tmp_path / "00000.tar",
        {"000000000.jpg": b"1", "000000000.txt": b"2", "000000000.json": b'{"url": "u0"}'},
    )
    table = {
        "key": [f"00000000{i}" for i in range(4)],
        "status": ["success", "failed_to_download", "failed_to_resize", "success"],
        "error_message": [None, "HTTP Error 404", "cannot identify", None],
        "url": [f"u{i}" for i in range(4)],
    }
    pq.write_table(pa.table(table), tmp_path / "00000.parquet")
    ok, gone, broken, absent = records_of(tmp_path / "*.tar")
    assert ok.problems == {}
    assert gone.problems == {"image": ("not_found", "img2dataset: HTTP Error 404")}
    assert broken.problems == {"image": ("undecodable", "img2dataset: cannot identify")}
    assert absent.problems[""][0] == "missing"
    assert (gone.key, gone.metadata["url"]) == ("000000001", "u1")


def test_stores_with_equal_keys_merge_without_loss(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_store(
            tmp_path / name,
            [
                sample(i, key, png=b"p", txt=name.encode())
                for i, key in enumerate(["x", "y~1", "y"])
            ],
        )
    source = open_source(f"{tmp_path}/{{a,b}}/00000.tar")
    plan = write_plan(source.records(), str(tmp_path), ShardLayout(9))
    records = read_planned_records(str(tmp_path), "00000", plan.shards[0].piece)
    assert plan.records == len({record.key for record in records}) == 6
    assert sorted(record.row for record in records) == list(range(6))


def test_a_value_that_is_not_utf8_is_null_with_a_reason(tmp_path):
    members = {"a.json": b'{"label": "\\ud83d", "n": 1}', "a.txt": b"x", "b.txt": b"y"}
    write_tar(tmp_path / "0.tar", members)
    urls = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9", b"\xff"]).buffers())
    failed = ["success", "failed_to_resize"]
    table = pa.table({"key": ["a", "b"], "status": failed, "url": urls})
    pq.write_table(table, tmp_path / "0.parquet")
    first, second = records_of(tmp_path / "0.tar")
    assert first.metadata == {"key": "a", "status": "success", "url": None, "label": None, "n": 1}
    assert first.problems == {"json": ("undecodable", "not UTF-8: 'label'")}
    assert second.metadata["url"] is None
    assert reasons(second) == {"image": "undecodable", "json": "undecodable"}


def test_user_columns_that_end_like_own_ones_are_kept(tmp_path):
    values = dict.fromkeys(["order_status", "image_of_status", "user_sha256", "text_status"], "x")
    lost = sample(0, "a", {"image": ("not_found", ""), "text": ("missing", "")})
    lost.record.metadata.update(values)
    write_store(tmp_path, [lost], kinds=dict.fromkeys(values, "string"))
    write_tar(tmp_path / "00000.tar", {"b.txt": b"x"})
    _, record = records_of(tmp_path / "00000.tar")
    renamed = values | {"meta_text_status": "x"}
    del renamed["text_status"]
    assert record.metadata == renamed
    assert reasons(record) == {"image": "not_found", "text": "missing"}
    kinds = dict.fromkeys(values, "string")
    manifest = shards_manifest(columns=dict.fromkeys(renamed, "string"), kinds=kinds)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    _, record = records_of(tmp_path / "00000.tar")
    assert record.metadata == values


def test_rows_that_share_a_key_are_all_records(tmp_path):
    write_tar(tmp_path / "a.tar", {"k.txt": b"x"})
    pq.write_table(
        pa.table({"key": ["k", "k", "l", "l"], "n": [1, 2, 3, 4]}), tmp_path / "a.parquet"
    )
    records = records_of(tmp_path / "a.tar")
    assert [(r.key, r.metadata["n"]) for r in records] == [("k", 1), ("k", 2), ("l", 3), ("l", 4)]
    assert [reasons(r) for r in records] == [{}] + [{"": "missing"}] * 3


def test_the_manifest_is_read_once_for_all_tars(tmp_path, monkeypatch):
    for number in range(5):
        write_tar(tmp_path / f"{number}.tar", {f"k{number}.txt": b"x"})
    reads = []
    monkeypatch.setattr(files, "read_json", lambda path, limit=0: reads.append(path))
    assert len(records_of(tmp_path / "*.tar")) == 5
    assert reads.count(f"{tmp_path}/manifest.json") == 1


def test_a_damaged_table_is_refused_and_a_foreign_one_ignored(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"k.txt": b"x"})
    pq.write_table(pa.table({"n": [1]}), tmp_path / "a.parquet")
    assert [record.key for record in records_of(path)] == ["k"]
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(MmfeatError, match=r"a\.parquet must be a valid Parquet file"):
        records_of(path)


def test_the_digest_depends_on_tars_and_tables(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"k.txt": b"x"})
    digests = [open_source(str(path)).describe()["sha256"] for _ in range(2)]
    assert digests[0] == digests[1]
    pq.write_table(pa.table({"n": [1]}), tmp_path / "a.parquet")
    digests.append(open_source(str(path)).describe()["sha256"])
    write_tar(path, {"k.txt": b"y"})
    digests.append(open_source(str(path)).describe()["sha256"])
    assert len(set(digests)) == 3


def test_the_newest_row_of_a_retried_record_replaces_the_others(tmp_path):
    lost = {"image": ("not_found", ""), "text": ("missing", "")}
    partial = {"image": ("unavailable", "")}
    write_store(
        tmp_path,
        [
            sample(0, "lost", lost),
            sample(1, "partial", partial, txt=b"t"),
            sample(2, "ok", txt=b"t"),
        ],
    )
    write_store(tmp_path, [sample(1, "partial", partial, txt=b"t2")], "00001")
    write_store(
        tmp_path,
        [sample(0, "lost", png=b"p", txt=b"t"), sample(1, "partial", png=b"p", txt=b"t")],
        "00002",
    )
    shards = [shard_entry(f"0000{n}", config_hash=f"{min(n, 1)}") for n in range(3)]
    manifest = shards_manifest(shards=shards, columns={"n": "int64"})
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    records = records_of(tmp_path)
    assert [(record.key, record.problems) for record in records] == [
        ("ok", {}), ("lost", {}), ("partial", {}),
    ]  # fmt: skip
    records = records_of(tmp_path / "00000.tar")
    assert {record.key: reasons(record) for record in records} == {
        "partial": {"image": "unavailable"},
        "ok": {},
        "lost": {"image": "not_found", "text": "missing"},
    }
