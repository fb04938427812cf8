import hashlib
import os

import pytest
import xxhash
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError
from mmfeat.storage import files


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "store")
    return f"memory://{tmp_path.name}/store"


def test_a_file_appears_when_it_is_complete(folder):
    path = files.join(folder, "a.bin")
    with files.create(path) as output:
        output.write(b"one ")
        assert not files.exists(path)
        output.write(memoryview(b"two"))
    assert files.open_input(path).read() == b"one two"
    assert output.info() == {
        "bytes": 7,
        "sha256": hashlib.sha256(b"one two").hexdigest(),
        "xxh3_128": xxhash.xxh3_128_hexdigest(b"one two"),
    }
    assert files.size(path) == 7
    assert files.list_names(folder) == ["a.bin"]


def test_an_error_while_writing_leaves_no_file(folder):
    path = files.join(folder, "a.bin")
    with pytest.raises(ValueError, match="half"), files.create(path) as output:
        output.write(b"one")
        raise ValueError("half way")
    assert files.list_names(folder) == []


def test_an_old_file_stays_until_the_new_one_is_complete(folder):
    path = files.join(folder, "a.bin")
    files.write_json(path, 1)
    with pytest.raises(ValueError, match="half"), files.create(path):
        raise ValueError("half way")
    assert files.read_json(path) == 1


def test_missing_files_read_as_none(folder):
    assert files.list_names(folder) == []
    assert files.read_json(files.join(folder, "x.json")) is None
    assert files.size(files.join(folder, "x.json")) is None
    assert not files.exists(folder)


def test_an_unknown_protocol_is_an_error():
    with pytest.raises(MmfeatError, match=r"cannot open nowhere://x"):
        files.exists("nowhere://x")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=4))
def test_all_frames_of_a_compressed_file_are_read(tmp_path_factory, frames):
    path = tmp_path_factory.mktemp("zst") / "a.zst"
    path.write_bytes(b"".join(map(zstandard.compress, frames)))
    with files.open_decompressed(str(path)) as file:
        assert file.read() == b"".join(frames)


@pytest.mark.parametrize(
    "read", [files.read_bytes, lambda path, size: files.read_range(path, 0, size)]
)
def test_a_pipe_in_place_of_a_file_is_an_error(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(files.NotAFileError, match="it is a pipe, not a file"):
        read(str(tmp_path / "pipe"), 10)
