import io
import json
import random
import tarfile

import pytest

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.records import REASONS
from mmfeat.sharding.shard_plan import ShardLayout, write_plan
from mmfeat.sources.registry import open_source
from mmfeat.store import Receipt, record_file
from tests.mmfeat.shards.tar_bytes import END, pax_header, tar_member
from tests.mmfeat.sources.tars.tar_inputs import reasons, records_of, sample, write_store, write_tar


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
