import io
import tarfile

import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.records.keys import safe_key
from mmfeat.records.record import Record, Sample
from mmfeat.shards.tar_reader import read_tar
from mmfeat.shards.tar_writer import TarWriter, tar_header
from mmfeat.storage import files

METADATA = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(), max_size=3)
MEMBERS = st.fixed_dictionaries({}, optional={"png": st.binary(max_size=700), "txt": st.binary()})

KEYS = st.text(max_size=150).filter(lambda key: "\0" not in key and key) | st.sampled_from(
    ["x" * 100, "x" * 101, "x" * 99 + "é", "caf\udce9", "a" * 300, "folder/" * 30 + "é"]
)
EXTENSIONS = st.sampled_from(["png", "txt", "left.jpg", "café", "caf\udce9", "x" * 90])


def write(path, samples):
    with files.create(str(path)) as output:
        tar = TarWriter(output)
        for sample in samples:
            tar.write(sample)
        tar.close()


def make_sample(key, members, metadata=None):
    return Sample(Record(0, key, metadata=metadata or {}), members)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=30).map(safe_key).filter(bool),
        st.tuples(MEMBERS, METADATA),
        max_size=5,
    )
)
def test_samples_are_read_back_unchanged(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("tar") / "00000.tar"
    write(path, [make_sample(key, members, meta) for key, (members, meta) in samples.items()])
    with path.open("rb") as file:
        read_back = list(read_tar(file))
    assert [sample.key for sample in read_back] == list(samples)
    for sample in read_back:
        members, metadata = samples[sample.key]
        assert {name: sample.members[name] for name in members} == members
        assert sample.metadata() == metadata


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(KEYS, st.dictionaries(EXTENSIONS, st.binary(max_size=1100))),
        max_size=4,
    )
)
def test_the_bytes_equal_those_of_tarfile(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("tar") / "00000.tar"
    write(path, [make_sample(key, members) for key, members in samples])
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


def test_the_header_of_eight_gigabytes_equals_that_of_tarfile():
    for size in (8**11 - 1, 8**11, 8**11 + 1):
        info = tarfile.TarInfo("a.bin")
        info.size = size
        assert tar_header("a.bin", size) == info.tobuf(tarfile.PAX_FORMAT)


def test_equal_samples_give_equal_bytes(tmp_path):
    for path in (tmp_path / "1.tar", tmp_path / "2.tar"):
        write(
            path,
            [
                make_sample("a", {"txt": b"one"}, {"z": 1, "a": 2}),
                make_sample("小龙虾", {"png": b"\x89"}),
            ],
        )
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_webdataset_reads_the_tar(tmp_path):
    path = tmp_path / "00000.tar"
    members = {"jpg": b"picture", "txt": "麻辣鲜香".encode()}
    write(
        path,
        [
            make_sample("小龙虾_0", members, {"label": "aquatic"}),
            make_sample("n" * 190, {"txt": b"long name"}),
        ],
    )
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["小龙虾_0", "n" * 190]
    assert samples[0]["jpg"] == b"picture"
    assert samples[0]["txt"].decode() == "麻辣鲜香"
    assert samples[0]["json"] == b'{"label": "aquatic"}'
