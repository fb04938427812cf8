"""Objects of known size are read in blocks, with one request for each."""

import errno
import io
import os

import fsspec
import pytest

from mmfeat.storage import object_reader
from mmfeat.storage.object_reader import ObjectReader

CONTENT = bytes(range(256)) * 5


class CountingFileSystem:
    """Objects in memory, and the ranges that were asked for."""

    def __init__(self):
        self.fs, self.asked = fsspec.filesystem("memory"), []
        self.fs.pipe_file("/object-reader", CONTENT)

    def cat_file(self, name, start, end):
        self.asked.append((start, end))
        return self.fs.cat_file(name, start=start, end=end)


@pytest.fixture
def open_object(monkeypatch):
    monkeypatch.setattr(object_reader, "_BLOCK_BYTES", 512)

    def open_object(size=1280, name="/object-reader"):
        fs = CountingFileSystem()
        return io.BufferedReader(ObjectReader(fs, name, size), 64), fs

    return open_object


def test_an_object_is_read_in_blocks(open_object):
    file, fs = open_object()
    pieces = [file.read(100) for _ in range(13)]
    assert b"".join(pieces) == CONTENT
    assert file.read() == b""
    assert fs.asked == [(0, 512), (512, 1024), (1024, 1280)]


def test_positions_in_an_object(open_object):
    file, fs = open_object()
    file.seek(-4, os.SEEK_END)
    assert file.read() == CONTENT[-4:]
    file.seek(700)
    assert file.read(10) == CONTENT[700:710]
    assert file.tell() == 710
    file.seek(5, os.SEEK_CUR)
    assert file.read(600) == CONTENT[715:1315]
    file.seek(2000)
    assert file.read() == b""
    assert fs.asked == [(1276, 1280), (700, 1212), (1212, 1280)]


@pytest.mark.parametrize("size", [0, 1000, 2000])
def test_the_object_has_another_size(open_object, size):
    file, _ = open_object(size)
    assert file.read() == CONTENT[:size]


def test_a_missing_object_is_noticed_when_it_is_read(open_object):
    file, _ = open_object(name="/no-object")
    with pytest.raises(FileNotFoundError):
        file.read(1)


class Refusing:
    """A store that refuses ranges behind the end of an object, and fails for one named 416."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def cat_file(self, name: str, start: int, end: int) -> bytes:
        if start >= len(self.content):
            raise OSError(errno.EINVAL, "InvalidRange")
        if "416" in name:
            raise OSError(f"{name}: 503, slow down")
        return self.content[start:end]

    def info(self, name: str) -> dict[str, int]:
        return {"size": len(self.content)}


def test_an_object_that_is_shorter_than_expected_ends_early() -> None:
    assert ObjectReader(Refusing(b"short"), "name", 100).readall() == b"short"
    assert ObjectReader(Refusing(b""), "name", 100).readall() == b""


def test_an_error_with_416_in_its_text_is_no_end() -> None:
    with pytest.raises(OSError, match="slow down"):
        ObjectReader(Refusing(b"content"), "block-00416", 7).readall()
