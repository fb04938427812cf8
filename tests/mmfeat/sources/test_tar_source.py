import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.media.fetch import MediaFetcher
from mmfeat.media.resize import ImageResizer
from mmfeat.records.media_ref import TarMemberRef
from mmfeat.records.record import REASONS, Record, Sample
from mmfeat.sharding.sample_reader import SampleReader
from mmfeat.sharding.shard_plan import ShardLayout, read_planned_records, write_plan
from mmfeat.shards.shard_table import ShardTable
from mmfeat.shards.tar_writer import TarWriter
from mmfeat.sources.base import InputOptions
from mmfeat.sources.registry import open_source
from mmfeat.sources.tar_source import TarSource
from mmfeat.store import files


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
    assert record.metadata == {"n": 5}
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
    assert reasons(record) == {"json": "undecodable"} or record.metadata["x"]


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
    assert reasons(record) == {"": "unsafe"}
    assert "2 x a member without a key" in record.problems[""][1]


def test_tars_without_samples_are_refused(tmp_path):
    for content in (b"", b"\0" * 10240, b"garbage" * 1000, b"\x1f\x8b" + b"x" * 900):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(MmfeatError, match="no images, audio or texts found"):
            open_source(str(tmp_path / "a.tar"))
    path = write_tar(tmp_path / "b.tar", {"a.cls": b"7"})
    with pytest.raises(MmfeatError, match="no images, audio or texts found"):
        open_source(str(path))


def test_a_damaged_table_is_refused_and_a_foreign_one_ignored(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"k.txt": b"x"})
    pq.write_table(pa.table({"n": [1]}), tmp_path / "a.parquet")
    assert [record.key for record in records_of(path)] == ["k"]
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(MmfeatError, match=r"cannot be read: .*a\.parquet"):
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
