"""The check of headers agrees with WebDataset, which reads the same tars in whole."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import RecordError
from mmfeat.records import Record, Sample
from mmfeat.shards import TarWriter
from mmfeat.storage import files
from mmfeat.store import record_file
from mmfeat.verification import check_tar as module
from mmfeat.verification.check_tar import check_tar
from tests.mmfeat.shards.tar_bytes import END, tar_member

KEYS = ("row~0", "é" * 3, "n" * 150, "folder/caf\udce9", "x" * 97, "b.c")
"""Plain, not ASCII, long, not UTF-8; the last is as no key of a shard is."""


def write_tar(path, keys, content=b"picture"):
    with files.create(str(path)) as output:
        tar = TarWriter(output)
        for key in keys:
            tar.write(Sample(Record(0, key), {"jpg": content, "txt": b""}))
        tar.close()


def check(path, keys):
    """What the check says of a tar whose receipt has its digests."""
    try:
        return check_tar(str(path), record_file(str(path)), lambda: keys)
    except RecordError as error:
        return error.detail


def check_by_webdataset(path, keys):
    try:
        return module._check_other_form(str(path), lambda: keys)
    except RecordError as error:
        return error.detail


@pytest.fixture
def read_whole(monkeypatch):
    """Whether WebDataset had to read the whole tar."""
    calls = []
    original = module._check_other_form
    monkeypatch.setattr(
        module, "_check_other_form", lambda *args: calls.append(args) or original(*args)
    )
    return calls


@pytest.mark.parametrize("content", [b"", b"x" * 512, b"x" * (3 << 20)])
def test_a_tar_of_the_writer_is_not_read_twice(tmp_path, read_whole, content):
    path, keys = tmp_path / "a.tar", KEYS[:-1]
    write_tar(path, keys, content)
    assert check(path, keys) == ""
    assert not read_whole
    assert check_by_webdataset(path, keys) == ""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(KEYS), max_size=6), st.sampled_from([512, 1024, 1 << 20]))
def test_names_are_those_of_tarfile(tmp_path_factory, keys, block):
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    write_tar(path, keys, b"x" * 700)
    data = path.read_bytes()
    blocks = (data[start : start + block] for start in range(0, len(data), block))
    with tarfile.open(path) as tar:
        assert list(module._read_names(blocks)) == tar.getnames()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_judged_as_by_webdataset(tmp_path_factory, data):
    """Bytes of headers and of the end are changed; the digests are those of the result."""
    path, keys = tmp_path_factory.mktemp("tar") / "a.tar", ("é", "b", "c")
    write_tar(path, keys)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 2))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.sampled_from([0, ord("0"), ord("7"), ord("x"), 255]))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), 5120, 4608, 9000]))])
    assert check(path, keys) == check_by_webdataset(path, keys)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (tar_member("a.jpg") + tar_member("a.jpg") + END, "a second member of that name"),
        (tar_member("a.jpg") + tar_member("a.JPG") + END, "a second member of that name"),
        (tar_member("a.pkl") + tar_member("b.jpg") + END, "a.pkl: a pickle"),
        (tar_member("a.jpg") + tar_member("a.PKL") + END, "a pickle"),
        (tar_member("a.jpg") + tar_member("__b__/b.jpg") + END, "the sample None"),
        (tar_member("a.jpg") + tar_member("b.jpg", kind=tarfile.SYMTYPE) + END, "a link member"),
        (tar_member("a.jpg") + tar_member("b.jpg")[:512], "the tar ends before"),
        (tar_member("a.jpg") + tar_member("b.jpg"), "no end mark"),
        (tar_member("a.jpg") + tar_member("b.jpg") + END + tar_member("c.jpg"), "the file goes on"),
        (tar_member("b.jpg") + tar_member("a.jpg") + END, "the sample 'b'"),
        (tar_member("a.jpg") + END, "the sample None"),
        (tar_member("a.jpg") + tar_member("b.jpg") + tar_member("c.jpg") + END, "the sample 'c'"),
        (b"", "it is empty"),
        (b"x" * 2000, "it is no tar"),
    ],
)
def test_each_kind_of_damage_is_found(tmp_path, content, problem):
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    assert problem in check(path, ("a", "b"))


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_webdataset_reads_a_tar_of_another_program_whole(tmp_path, read_whole, format_):
    path, output = tmp_path / "a.tar", io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=format_) as tar:
        for name in ("a.jpg", "b.jpg"):
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000
            tar.addfile(info, io.BytesIO())
    path.write_bytes(output.getvalue())
    assert check(path, ("a", "b")) == ""
    assert "the sample 'b'" in check(path, ("a", "c"))
    assert len(read_whole) == 2


def test_webdataset_itself_reads_the_first_samples(tmp_path, monkeypatch):
    """A tar that the headers say is right, and WebDataset takes for a compressed file."""
    path, key = tmp_path / "a.tar", "BZh91AY&SY"
    write_tar(path, [key])
    assert "WebDataset cannot read it" in check(path, [key])


def test_other_bytes_explain_more_than_what_they_mean(tmp_path):
    path = tmp_path / "a.tar"
    write_tar(path, ("a", "b"))
    info = record_file(str(path))
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    assert check_tar(str(path), info, lambda: ("a", "b")) == "has another sha256 than its receipt"
