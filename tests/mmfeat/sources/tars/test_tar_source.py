import io
import json
import random
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.media.fetch import MediaFetcher
from mmfeat.media.images.resize import ImageResizer
from mmfeat.records import REASONS, Record, Sample
from mmfeat.records.media_ref import TarMemberRef
from mmfeat.sharding.plan_writer import ShardLayout, write_plan
from mmfeat.sharding.sample_reader import SampleReader
from mmfeat.sharding.shard_plan import read_planned_records
from mmfeat.shards.shard_table import ShardTable
from mmfeat.shards.tar_writer import TarWriter
from mmfeat.sources.base import InputOptions
from mmfeat.sources.registry import open_source
from mmfeat.sources.tars.tar_source import TarSource
from mmfeat.storage import files
from mmfeat.store import Receipt, record_file
from tests.mmfeat.manifests import shard_entry, shards_manifest
from tests.mmfeat.shards.tar_bytes import END, pax_header, tar_member


def write_tar(path, members, **links):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in links.items():
            info = tarfile.TarInfo(name.replace("_", "."))
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


def write_store(folder, samples, name="00000", kinds=None):
    """Write a shard as the sharding stage does."""
    table = ShardTable(("image", "text"), kinds or {"n": "int64"})
    with files.create(f"{folder}/{name}.tar") as output:
        tar = TarWriter(output)
        for sample in samples:
            if sample.members:
                tar.write(sample)
            table.append(sample, sample.status())
        tar.close()
    pq.write_table(table.to_arrow(), folder / f"{name}.parquet")


def sample(row, key, problems=None, **members):
    return Sample(Record(row, key, metadata={"n": row}), members, problems or {})


def records_of(path):
    return list(open_source(str(path)).records())


def reasons(record):
    return {slot: reason for slot, (reason, _) in record.problems.items()}


@pytest.mark.parametrize(
    ("names", "example"),
    [
        (["v1.5.jpg", "v1.6.jpg"], "'v1.5.jpg' is read as the part 'image.5' of the key 'v1'"),
        (["a/Mr. X.png"], "'a/Mr. X.png' is read as the part 'image. x' of the key 'a/Mr'"),
        (
            [f"Img.{place}.jpg" for place in "abcdefghijklm"],
            "'Img.a.jpg' is read as the part 'image.a' of the key 'Img'",
        ),
    ],
)
def test_a_note_shows_how_dots_in_names_are_read(tmp_path, names, example):
    source = open_source(str(write_tar(tmp_path / "a.tar", dict.fromkeys(names, b"1"))))
    assert len(list(source.records())) == 1
    first, second = source.notes()
    assert second.startswith(f"keys end at the first dot of a member name: {example}.")
    assert first.endswith(" and 1 more") == (len(names) == 13)


def test_parts_that_are_named_on_purpose_have_no_note(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"k.jpg": b"1", "k.left.jpg": b"2", "k.desc.txt": b"3"})
    assert len(open_source(str(path)).notes()) == 1


def test_extensions_give_slots_and_others_pass_through(tmp_path):
    path = write_tar(
        tmp_path / "a.tar",
        {"k.jpg": b"1", "k.left.png": b"2", "k.wav": b"3", "k.txt": b"4", "k.json": b'{"n": 5}',
         "k.cls": b"7", "k.seg.npy": b"8", "k.text": b"9", "k.png": b"10"},
    )  # fmt: skip
    source = open_source(str(path))
    (record,) = source.records()
    assert source.slots == ("image", "image.left", "audio", "text")
    assert list(record.media) == [
        "image", "image.left", "audio", "text", "cls", "seg.npy", ".text", "png",
    ]  # fmt: skip
    assert record.metadata == {"n": 5, "cls": 7}
    assert record.problems == {}
    content = path.read_bytes()
    for number, ref in zip([1, 2, 3, 4, 7, 8, 9, 10], record.media.values(), strict=True):
        assert isinstance(ref, TarMemberRef)
        assert content[ref.offset : ref.offset + ref.size] == b"%d" % number


def test_resharding_keeps_all_members(tmp_path, picture):
    members = {"k.png": picture(), "k.jpg": b"second", "k.cls": b"7", "k.x.npy": b"\x93N",
               "k.image.json": b"[", "k.text": b"\xff", "k.txt": b"words"}  # fmt: skip
    path = write_tar(tmp_path / "a.tar", members)
    source = open_source(str(path))
    (record,) = source.records()
    reader = SampleReader(source.slots, MediaFetcher(1 << 20), "header", ImageResizer())
    found = reader.read(record)
    assert found.problems == {}
    assert {f"k.{name}": content for name, content in found.members.items()} == members


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
    records = read_planned_records(str(tmp_path), "00000")
    assert plan.records == len({record.key for record in records}) == 6
    assert sorted(record.row for record in records) == list(range(6))


def test_names_outside_the_folder_are_problems(tmp_path):
    names = ["../a.txt", "/b.txt", "x/../../c.txt", "..\\x/d.txt", "f.v1/e.txt", "./g.txt",
             "h//i.txt", "caf\udce9.txt", "j\nk.txt"]  # fmt: skip
    write_tar(tmp_path / "a.tar", dict.fromkeys(names, b"x"))
    records = records_of(tmp_path / "a.tar")
    assert [reasons(record) for record in records] == [{"": "outside"}] * 4 + [{}] * 5
    assert [record.key for record in records[4:]] == ["f_v1/e", "g", "h/i", "caf_", "j_k"]
    assert not any(".." in r.key or r.key.startswith("/") or "\\" in r.key for r in records)


def test_unsafe_and_cut_members_are_problems_of_their_slot(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"b.txt": b"x", "a.txt": b"x", "a.pkl": b"x"}, a_jpg="/x")
    _, record = records_of(path)
    assert reasons(record) == {"image": "unsafe", "pkl": "unsafe"}
    assert list(record.media) == ["text"]
    path.write_bytes(write_tar(path, {"a.txt": b"x", "a.png": b"y" * 999}).read_bytes()[:2000])
    record, damage = records_of(path)
    assert (reasons(record), reasons(damage)) == ({"image": "damaged_shard"}, {"": "damaged_shard"})


def test_of_two_members_of_one_name_the_first_is_used(tmp_path):
    path = tmp_path / "a.tar"
    write_tar(path, {"a.jpg": b"1", "A.jpg": b"x", "a.txt": b"x"})
    path.write_bytes(path.read_bytes().replace(b"A.jpg", b"a.jpg"))
    with tarfile.open(path, "w") as tar:
        for content in (b"1", b"22"):
            info = tarfile.TarInfo("a.jpg")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (record,) = records_of(path)
    assert record.media["image"].size == 1
    assert reasons(record) == {"jpg": "duplicate"}


@pytest.mark.parametrize(
    "content",
    [b"{", b"[1]", b"\xff", b"[" * 99_999, b'{"x": ' + b"[" * 700 + b"]" * 700 + b"}"],
    ids=range(5),
)
def test_invalid_json_affects_the_metadata_only(tmp_path, content):
    (record,) = records_of(write_tar(tmp_path / "a.tar", {"a.json": content, "a.txt": b"x"}))
    assert list(record.media) == ["text"]
    assert reasons(record)["json"] in ("undecodable", "too_large")
    assert record.metadata.get("x") is None


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


@pytest.mark.parametrize(("cut", "whole"), [(1100, 1), (2048 + 300, 1), (2048 + 512 + 10, 2)])
def test_the_table_gives_the_records_after_damage(tmp_path, cut, whole):
    write_store(tmp_path, [sample(i, f"k{i}", txt=b"x") for i in range(4)])
    path = tmp_path / "00000.tar"
    path.write_bytes(path.read_bytes()[:cut])
    records = records_of(path)
    assert [record.key for record in records] == ["k0", "k1", "k2", "k3"]
    usable = [record.key for record in records if "text" in record.media]
    assert usable == ["k0", "k1"][:whole]
    assert all(reasons(record) for record in records[2:])
    assert {r.problems[""][0] for r in records[2:]} == {"damaged_shard"}


def test_without_a_table_damage_is_one_record(tmp_path):
    whole = write_tar(tmp_path / "b.tar", {"k9.txt": b"x"})
    path = write_tar(tmp_path / "a.tar", {f"k{i}.txt": b"x" * 600 for i in range(3)})
    path.write_bytes(path.read_bytes()[: 1536 + 100])
    first, damage, other = records_of(tmp_path / "{a,b}.tar")
    assert (first.key, other.key) == ("k0", "k9")
    assert (damage.key, reasons(damage)) == ("damaged a_tar", {"": "damaged_shard"})
    assert "the samples after it are not counted" in damage.problems[""][1]
    path.write_bytes(whole.read_bytes() * 2)
    assert [reasons(record) for record in records_of(path)] == [{}, {"": "damaged_shard"}]


def test_members_without_a_key_are_counted_in_a_record(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"k.txt": b"x", "README": b"x", ".DS_Store": b"x"})
    _, record = records_of(path)
    assert reasons(record) == {"": "unnamed"}
    assert "2 x a member without a key" in record.problems[""][1]


def compressed_tar(path, mode):
    with tarfile.open(path, f"w:{mode}") as tar:
        tar.addfile(tarfile.TarInfo("k.txt"))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "description"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><p>404</p>", "it is no tar: it begins with b'<!DOCTYPE html"),
        (random.Random(5).randbytes(40_000), "it is no tar: it begins with b"),
        ("gz", "it is compressed by gzip"),
        ("bz2", "it is compressed by bzip2"),
        ("xz", "it is compressed by xz"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 900, "it is compressed by zstd"),
        (b"PK\x03\x04" + b"x" * 900, "it is compressed by zip"),
        (b"\0" * 10240, "no members"),
    ],
    ids=range(9),
)
def test_a_file_that_is_no_tar_is_described(tmp_path, content, description):
    path = tmp_path / "a.tar"
    path.write_bytes(content if isinstance(content, bytes) else compressed_tar(path, content))
    with pytest.raises(MmfeatError) as error:
        open_source(str(path))
    assert description in str(error.value)
    write_tar(tmp_path / "b.tar", {"k.txt": b"x"})
    (tmp_path / "a.tar").rename(tmp_path / "c.tar")
    _, *damaged = records_of(tmp_path)
    assert [reasons(record) for record in damaged] == [{"": "damaged_shard"}] * (
        description != "no members"
    )
    assert all(description in record.problems[""][1] for record in damaged)


def test_tars_without_media_are_refused_with_what_they_hold(tmp_path):
    path = write_tar(tmp_path / "b.tar", {"a.cls": b"7", "b.heic": b"x", "README": b"x"})
    with pytest.raises(MmfeatError, match=r"no images, audio or texts.*1 \.cls, 1 \.heic, 1 a mem"):
        open_source(str(path))


def test_tars_of_sparse_members_and_links_are_told_so(tmp_path):
    path = tmp_path / "a.tar"
    sparse = pax_header({"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"})
    path.write_bytes(sparse + tar_member("a.jpg") + END)
    with pytest.raises(MmfeatError, match=r"a\.jpg: a sparse member.*without --sparse"):
        open_source(str(path))
    write_tar(path, {}, a_jpg="/x")
    with pytest.raises(MmfeatError, match=r"a\.jpg: a link member.*--dereference"):
        open_source(str(path))


def test_labels_become_metadata_and_stay_members(tmp_path):
    labels = [b"3", b"-1\n", b"01", b"cat", b"", b"\xff", b"9" * 30, b"x" * 5000]
    members = {f"{n}.cls": label for n, label in enumerate(labels)}
    members |= {f"{n}.txt": b"x" for n in range(8)}
    members |= {"0.json": b'{"cls": "from json"}', "1.index": b"7", "1.left.id": b"8"}
    source = open_source(str(write_tar(tmp_path / "a.tar", members)))
    records = list(source.records())
    assert [record.metadata.get("cls") for record in records] == [
        "from json", -1, "01", "cat", None, None, "9" * 30, None,
    ]  # fmt: skip
    assert (records[1].metadata["index"], records[1].metadata["left.id"]) == (7, 8)
    assert all(record.media["cls"].size == len(labels[n]) for n, record in enumerate(records))


def test_members_in_any_order_give_the_same_samples(tmp_path):
    samples = {
        f"k{n:03}": {"jpg": b"j%d" % n, "txt": b"t%d" % n, "json": b'{"n": %d}' % n}
        for n in range(150)
    }
    members = [(f"{k}.{e}", content) for k, s in samples.items() for e, content in s.items()]
    orders = {
        "adjacent": members,
        "by extension": sorted(members, key=lambda member: member[0][-3:]),
        "shuffled": random.Random(3).sample(members, len(members)),
    }
    for name, order in orders.items():
        path = write_tar(tmp_path / f"{name}.tar", dict(order))
        source = open_source(str(path))
        assert source.slots == ("image", "text")
        records = list(source.records())
        data = path.read_bytes()
        contents = {
            record.key: {
                slot: data[ref.offset : ref.offset + ref.size] for slot, ref in record.media.items()
            }
            for record in records
        }
        assert len(records) == len(contents) == 150
        assert [record.row for record in records] == list(range(150))
        assert list(contents) == list(dict.fromkeys(name.partition(".")[0] for name, _ in order))
        assert contents == {k: {"image": s["jpg"], "text": s["txt"]} for k, s in samples.items()}
        assert all(record.metadata == {"n": int(record.key[1:])} for record in records)
        assert not any(record.problems for record in records)


def test_a_damaged_tar_in_another_order_gives_the_samples_before(tmp_path):
    members = {f"{n}.{extension}": b"x" * 600 for extension in ("jpg", "txt") for n in range(3)}
    path = write_tar(tmp_path / "a.tar", members)
    path.write_bytes(path.read_bytes()[: 4 * 1536 + 200])
    *samples, damage = records_of(path)
    assert [(r.key, list(r.media)) for r in samples] == [
        ("0", ["image", "text"]), ("1", ["image"]), ("2", ["image"]),
    ]  # fmt: skip
    assert reasons(damage) == {"": "damaged_shard"}


def test_a_dead_link_and_a_folder_are_no_tars(tmp_path):
    (tmp_path / "a.tar").symlink_to("gone.tar")
    (tmp_path / "b.tar").mkdir()
    for name in ("a.tar", "*.tar"):
        with pytest.raises(MmfeatError, match="no such file"):
            open_source(f"{tmp_path}/{name}")


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


@pytest.mark.parametrize("name", ["00000.tar", "00000.parquet"])
@pytest.mark.parametrize("damage", ["cut", "bit"])
def test_a_damaged_shard_of_a_store_is_refused(tmp_path, name, damage):
    """Of a store, nothing may be lost. Tars of others have no receipt and may be partial."""
    write_store(tmp_path, [sample(row, f"k{row}", txt=b"text" * 200) for row in range(4)])
    names = ("00000.tar", "00000.parquet")
    recorded = {name: record_file(str(tmp_path / name)) for name in names}
    Receipt("00000", "hash", records=4, out=4, files=recorded).write(str(tmp_path))
    assert len(records_of(tmp_path / "00000.tar")) == 4
    data = (tmp_path / name).read_bytes()
    half = len(data) // 2
    rest = bytes([data[half] ^ 1]) + data[half + 1 :] if damage == "bit" else b""
    (tmp_path / name).write_bytes(data[:half] + rest)
    with pytest.raises(DamagedFileError, match=name):
        records_of(tmp_path / "00000.tar")


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


def test_column_flags_need_a_table(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"k.txt": b"x"})
    with pytest.raises(MmfeatError, match="column flags need a table"):
        open_source(str(path), InputOptions({"text": ("x",)}))


def test_every_ugly_tar_can_be_planned_or_is_refused(real_data, tmp_path):
    for path in sorted((real_data("ugly") / "tars").glob("*.tar")):
        try:
            records = records_of(path)
        except MmfeatError:
            continue  # no sample in it
        plan = write_plan(records, str(tmp_path / path.name), ShardLayout(500))
        assert plan.records == len(records)
        assert all(reasons(record) or record.media for record in records)
        assert {reason for r in records for reason in reasons(r).values()} <= REASONS.keys()
        json.dumps([record.key for record in records], ensure_ascii=False).encode()


def test_slots_are_found_in_tars_all_over_the_input(tmp_path):
    def tar(name, extension):
        path = tmp_path / name
        with tarfile.open(path, "w") as file:
            for number in range(150):
                info = tarfile.TarInfo(f"{name[0]}{number}.{extension}")
                info.size = 1
                file.addfile(info, io.BytesIO(b"x"))
        return str(path)

    source = TarSource([tar("a.tar", "txt"), tar("b.tar", "jpg")])
    assert source.slots == ("image", "text")


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
