import io
import random
import tarfile

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.media.fetch import MediaFetcher
from mmfeat.media.images.resize import ImageResizer
from mmfeat.records.media_ref import TarMemberRef
from mmfeat.sharding.sample_reader import SampleReader
from mmfeat.sources.base import InputOptions
from mmfeat.sources.registry import open_source
from mmfeat.sources.tars.tar_source import TarSource
from tests.mmfeat.sources.tars.tar_inputs import write_tar


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


def test_column_flags_need_a_table(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"k.txt": b"x"})
    with pytest.raises(MmfeatError, match="column flags need a table"):
        open_source(str(path), InputOptions({"text": ("x",)}))


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
