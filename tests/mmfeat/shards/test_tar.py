import io
import tarfile

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.records.keys import safe_key
from mmfeat.records.record import Record, Sample
from mmfeat.shards.tar import TarWriter, _header, read_tar, split_name
from mmfeat.store import files

metadata = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(), max_size=3)
contents = st.fixed_dictionaries({}, optional={"png": st.binary(max_size=700), "txt": st.binary()})


def write(path, samples):
    with files.create(str(path)) as output:
        tar = TarWriter(output)
        for sample in samples:
            tar.write(sample)
        tar.close()
    return output.describe()["sha256"]


def sample(key, members, meta=None):
    return Sample(Record(0, key, metadata=meta or {}), members)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=30).map(safe_key).filter(bool),
        st.tuples(contents, metadata),
        max_size=5,
    )
)
def test_samples_come_back_byte_for_byte(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("tar") / "00000.tar"
    write(path, [sample(key, members, meta) for key, (members, meta) in samples.items()])
    with path.open("rb") as file:
        found = list(read_tar(file))
    assert [item.key for item in found] == list(samples)
    for item in found:
        members, meta = samples[item.key]
        assert {name: item.members[name] for name in members} == members
        assert item.metadata() == meta


names_of_members = st.text(max_size=150).filter(
    lambda name: "\0" not in name and name
) | st.sampled_from(
    ["x" * 100, "x" * 101, "x" * 99 + "é", "caf\udce9", "a" * 300, "folder/" * 30 + "é"]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            names_of_members,
            st.dictionaries(
                st.sampled_from(["png", "txt", "left.jpg", "café", "caf\udce9", "x" * 90]),
                st.binary(max_size=1100),
            ),
        ),
        max_size=4,
    )
)
def test_the_bytes_are_those_that_pythons_tarfile_writes(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("tar") / "00000.tar"
    write(path, [sample(key, members) for key, members in samples])
    expected = io.BytesIO()
    with tarfile.open(
        fileobj=expected, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8"
    ) as tar:
        for key, members in samples:
            for extension, content in [*members.items(), ("json", b"{}")]:
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    assert path.read_bytes() == expected.getvalue()


def test_a_member_of_eight_gigabytes_has_the_header_that_tarfile_gives_it():
    for size in (8**11 - 1, 8**11, 8**11 + 1):
        info = tarfile.TarInfo("a.bin")
        info.size = size
        assert _header("a.bin", size) == info.tobuf(tarfile.PAX_FORMAT)


def test_the_same_samples_give_the_same_bytes(tmp_path):
    samples = [sample("a", {"txt": b"one"}, {"z": 1, "a": 2}), sample("小龙虾", {"png": b"\x89"})]
    assert write(tmp_path / "1.tar", samples) == write(tmp_path / "2.tar", samples)


def test_webdataset_reads_what_we_write(tmp_path):
    path = tmp_path / "00000.tar"
    write(
        path,
        [
            sample(
                "小龙虾_0", {"jpg": b"picture", "txt": "麻辣鲜香".encode()}, {"label": "aquatic"}
            ),
            sample("n" * 190, {"txt": b"long name"}),
        ],
    )
    found = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [item["__key__"] for item in found] == ["小龙虾_0", "n" * 190]
    assert found[0]["jpg"] == b"picture"
    assert found[0]["txt"].decode() == "麻辣鲜香"
    assert found[0]["json"] == b'{"label": "aquatic"}'


def test_a_cut_tar_gives_the_samples_before_the_cut_and_then_an_error(tmp_path):
    path = tmp_path / "00000.tar"
    write(path, [sample(f"k{i}", {"txt": b"x" * 600}) for i in range(4)])
    found = []
    with pytest.raises(tarfile.TarError):
        for item in read_tar(io.BytesIO(path.read_bytes()[:4000])):
            found.append(item.key)
    assert found == ["k0"]


def test_links_devices_and_members_too_large_are_never_read(tmp_path, monkeypatch):
    monkeypatch.setattr("mmfeat.shards.tar.MAX_MEMBER_BYTES", 100)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        device = tarfile.TarInfo("a.jpg")
        device.type = tarfile.CHRTYPE
        tar.addfile(device)
        for name, size in (("a.txt", 5), ("a.gif", 101)):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(b"x" * size))
    buffer.seek(0)
    (found,) = read_tar(buffer)
    assert found.members == {"txt": b"xxxxx"}
    assert found.problems["gif"].reason == "too_large"


def test_a_name_is_split_at_the_first_dot_of_its_last_part():
    assert split_name("a/b.c/d.seg.PNG") == ("a/b.c/d", "seg.png")
    assert split_name("./x.txt") == ("x", "txt")
