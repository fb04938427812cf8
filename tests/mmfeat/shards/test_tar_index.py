import io
import tarfile
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.shards.tar_index import MAX_JSON_BYTES, index_tar
from tests.mmfeat.shards.tar_bytes import END, pax_header, tar_member, with_size_field


def summary(samples):
    """Key, extensions and reasons of each sample."""
    return [
        (s.key, sorted(s.members), {e: reason for e, (reason, _) in s.problems.items()})
        for s in samples
    ]


def test_members_have_their_offset_and_size(index, tmp_path):
    contents = {"a.jpg": b"picture", "a.txt": b"", "a.left.PNG": b"p" * 600, "d/b.cls": b"7"}
    samples, error, _ = index(b"".join(tar_member(n, c) for n, c in contents.items()) + END)
    assert error is None
    assert [(s.key, list(s.members)) for s in samples] == [
        ("a", ["jpg", "txt", "left.png"]), ("d/b", ["cls"]),
    ]  # fmt: skip
    data = (tmp_path / "a.tar").read_bytes()
    for sample in samples:
        for name, offset, size in sample.members.values():
            assert data[offset : offset + size] == contents[name]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(
            st.characters(exclude_characters="\0/.", exclude_categories=["Cs"]),
            min_size=1,
            max_size=120,
        ),
        st.dictionaries(
            st.sampled_from(["jpg", "txt", "cls"]), st.binary(max_size=700), min_size=1
        ),
        max_size=5,
    ),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_any_tar_of_tarfile_is_indexed(tmp_path_factory, samples, format):
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    with tarfile.open(path, "w", format=format) as tar:
        for key, members in samples.items():
            for extension, content in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    data = path.read_bytes()
    indexed = {
        sample.key: {
            extension: data[offset : offset + size]
            for extension, (_, offset, size) in sample.members.items()
        }
        for sample in index_tar(str(path), Counter())
    }
    assert indexed == samples


def test_the_json_is_read_and_a_second_json_is_a_duplicate(index):
    (sample,), _, _ = index(tar_member("a.json", b'{"n": 1}') + tar_member("a.json", b"{}") + END)
    assert sample.metadata_json == b'{"n": 1}'
    assert summary([sample]) == [("a", [], {"json": "duplicate"})]


def test_a_too_large_json_is_not_read(index):
    header = with_size_field(tar_member("a.json", b""), b"%011o\0" % (MAX_JSON_BYTES + 1))
    (sample,), _, _ = index(header + b"\0" * (MAX_JSON_BYTES + 512) + END)
    assert sample.metadata_json is None
    assert summary([sample]) == [("a", [], {"json": "too_large"})]


def test_of_two_members_with_one_name_the_first_is_kept(index):
    (sample,), _, _ = index(tar_member("a.jpg", b"1") + tar_member("a.JPG", b"22") + END)
    assert sample.members["jpg"][2] == 1
    assert sample.problems["jpg"][0] == "duplicate"


@pytest.mark.parametrize(
    "unsafe",
    [
        tar_member("a.jpg", b"", tarfile.SYMTYPE, linkname="/etc/passwd"),
        tar_member("a.jpg", b"", tarfile.LNKTYPE, linkname="b.jpg"),
        tar_member("a.jpg", b"", tarfile.CHRTYPE),
        tar_member("a.jpg", b"", tarfile.BLKTYPE),
        tar_member("a.jpg", b"", tarfile.FIFOTYPE),
        pax_header({"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)})
        + tar_member("a.jpg", b"x"),
    ],
    ids=["symlink", "hard link", "character device", "block device", "pipe", "sparse"],
)
def test_links_devices_and_sparse_members_are_unsafe(index, unsafe):
    samples, error, _ = index(unsafe + tar_member("a.txt") + END)
    assert summary(samples) == [("a", ["txt"], {"jpg": "unsafe"})]
    assert error is None


@pytest.mark.parametrize("extension", ["pkl", "pickle", "seg.pyd", "PT", "pth", "ckpt", "joblib"])
def test_pickles_are_unsafe(index, extension):
    samples, _, _ = index(tar_member(f"a.{extension}") + tar_member("a.txt") + END)
    assert summary(samples) == [("a", ["txt"], {extension.lower(): "unsafe"})]


def test_members_of_no_sample_are_counted_and_folders_are_not(index):
    names = ["README", "d/LICENSE", ".hidden", "d/.gitignore", "trailing."]
    content = tar_member("d/", b"", tarfile.DIRTYPE) + b"".join(map(tar_member, names))
    samples, error, ignored = index(content + END)
    assert (samples, error, sum(ignored.values())) == ([], None, 5)


def test_keys_may_be_no_utf8_and_extensions_are_printable(index):
    samples, _, _ = index(
        tar_member("caf\udce9.jpg")
        + tar_member("caf\udce9.t\udce9\n\t")
        + tar_member("é.TXT")
        + END
    )
    assert summary(samples) == [("caf\udce9", ["jpg", "t___"], {}), ("é", ["txt"], {})]


@pytest.mark.parametrize("cut", range(0, 3584, 64))
def test_a_tar_cut_anywhere_yields_its_complete_samples(index, cut):
    content = b"".join(tar_member(f"k{i}.txt", b"y" * 600) for i in range(2)) + END
    samples, error, _ = index(content[:cut])
    complete = sum(end <= cut for end in (512 + 600, 1536 + 512 + 600))
    assert [sample.key for sample in samples if sample.members] == ["k0", "k1"][:complete]
    cut_samples = [sample for sample in samples if sample.problems]
    assert all(s.problems["txt"][0] == "damaged_shard" for s in cut_samples)
    # A cut in the padding or in the end mark loses nothing. A cut between members is an error.
    assert error or cut_samples or cut > 2648


def test_content_after_the_end_is_an_error(index):
    one, two = tar_member("a.txt") + END, tar_member("b.txt") + END
    assert index(one + b"\0" * 9000)[1] is None
    samples, error, _ = index(one + two)
    assert [sample.key for sample in samples] == ["a"]
    assert "the file goes on" in error
    assert "the file goes on" in index(one + b"garbage")[1]


def test_a_broken_header_is_not_the_end(index):
    samples, error, _ = index(tar_member("a.txt") + b"\xff" * 512 + tar_member("b.txt") + END)
    assert [sample.key for sample in samples] == ["a"]
    assert error


def test_an_empty_tar_has_no_samples_and_other_files_are_errors(index):
    assert index(END)[:2] == ([], None)
    assert index(b"\0" * 10240)[:2] == ([], None)
    assert index(b"")[1]
    assert index(b"no tar at all" * 100)[1]
    assert index(b"\x1f\x8b" + bytes(range(256)) * 9)[1]
