import io
import tarfile

import pytest

from mmfeat.records.record import Record, Sample
from mmfeat.shards.tar_reader import read_tar, split_member_name
from mmfeat.shards.tar_writer import TarWriter
from mmfeat.storage.output_file import OutputFile
from tests.mmfeat.shards.tar_bytes import END, tar_member, with_size_field


def test_a_truncated_tar_yields_the_samples_before_the_cut_then_an_error():
    buffer = io.BytesIO()
    tar = TarWriter(OutputFile(buffer))
    for number in range(4):
        tar.write(Sample(Record(0, f"k{number}"), {"txt": b"x" * 600}))
    tar.close()
    keys = []
    with pytest.raises(tarfile.TarError):
        for sample in read_tar(io.BytesIO(buffer.getvalue()[:4000])):
            keys.append(sample.key)
    assert keys == ["k0"]


def test_a_member_of_a_claimed_size_does_not_hang():
    header = tar_member("k.txt")
    claimed = with_size_field(header[:512], b"\x80" + (1 << 62).to_bytes(11, "big"))
    with pytest.raises(tarfile.TarError):
        list(read_tar(io.BytesIO(claimed + header + END)))


def test_links_devices_and_too_large_members_are_not_read(monkeypatch):
    monkeypatch.setattr("mmfeat.shards.tar_reader.MAX_MEMBER_BYTES", 100)
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
    (sample,) = read_tar(buffer)
    assert sample.members == {"txt": b"xxxxx"}
    assert sample.problems["gif"].reason == "too_large"


def test_a_member_name_is_split_at_the_first_dot_of_its_last_part():
    assert split_member_name("a/b.c/d.seg.PNG") == ("a/b.c/d", "seg.png")
    assert split_member_name("./x.txt") == ("x", "txt")


@pytest.mark.parametrize("block", [1, 511, 512, 513, 1500, 1 << 20])
@pytest.mark.parametrize("last_is_plain", [True, False])
def test_members_do_not_depend_on_the_blocks_that_are_read(monkeypatch, block, last_is_plain):
    monkeypatch.setattr("mmfeat.shards.tar_reader._READ_BYTES", block)
    contents = {f"{n:03}.bin": bytes([n]) * (n * 97) for n in range(30)}
    if not last_is_plain:
        contents[f"{'long' * 40}.bin"] = b"read by tarfile"
        contents["999.bin"] = b"z" * 700
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    buffer.seek(0)
    samples = list(read_tar(buffer))
    assert {f"{s.key}.bin": bytes(s.members["bin"]) for s in samples} == contents
