import hashlib
import os

import fsspec
import pytest
import xxhash

from mmfeat.errors import DamagedFileError
from mmfeat.storage import files
from mmfeat.store import CheckedStream, check_file, integrity, open_checked, record_file

CONTENT = bytes(range(256)) * 5000


@pytest.fixture(params=["local", "memory"])
def path(request, tmp_path):
    """A file with `CONTENT`, local and in an object store."""
    path = str(tmp_path / "file") if request.param == "local" else f"memory://{tmp_path}/file"
    write(path, CONTENT)
    return path


def write(path, content):
    with files.create(path) as output:
        output.write(content)
    return output.info()


def read_whole(path, info):
    with open_checked(path, info) as file:
        return file.read()


def read_stream(path, info):
    with CheckedStream(path, info) as file:
        content = file.read(1000)
        file.check()
    return content


READERS = [check_file, read_whole, read_stream]


def test_a_recorded_file_has_the_digests_of_a_written_one(path):
    assert record_file(path) == write(path, CONTENT)
    assert record_file(path) == {
        "bytes": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "xxh3_128": xxhash.xxh3_128_hexdigest(CONTENT),
    }


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("digests", [("xxh3_128", "sha256"), ("sha256",)])
def test_an_intact_file_is_read(path, read, digests):
    """Receipts of earlier versions have the sha256 alone."""
    info = record_file(path)
    recorded = {name: info[name] for name in ("bytes", *digests)}
    assert read(path, recorded) in (None, CONTENT, CONTENT[:1000])


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("digests", [("xxh3_128", "sha256"), ("sha256",)])
@pytest.mark.parametrize("place", [0, 500_000, len(CONTENT) - 1])
def test_a_flipped_bit_is_an_error(path, read, digests, place):
    info = record_file(path)
    write(path, CONTENT[:place] + bytes([CONTENT[place] ^ 8]) + CONTENT[place + 1 :])
    with pytest.raises(DamagedFileError, match="file must have the bytes of its receipt"):
        read(path, {name: info[name] for name in ("bytes", *digests)})


@pytest.mark.parametrize("read", READERS)
def test_a_file_of_another_size_is_an_error_before_it_is_read(path, read, monkeypatch):
    info = record_file(path)
    write(path, CONTENT[:-1])
    monkeypatch.setattr(files, "open_input", None)
    with pytest.raises(DamagedFileError, match="must have the 1,280,000 bytes"):
        read(path, info)


@pytest.mark.parametrize("read", READERS)
def test_a_missing_file_is_an_error(path, read):
    info = record_file(path)
    files.remove(path)
    with pytest.raises(DamagedFileError, match="no such file"):
        read(path, info)


def test_a_file_is_hashed_once_while_it_does_not_change(path, monkeypatch):
    hashes = []

    def count(*arguments):
        hashes.append(arguments)
        return xxhash.xxh3_128()

    monkeypatch.setitem(integrity._HASHES, "xxh3_128", count)
    info = record_file(path)
    for _ in range(3):
        check_file(path, info)
    assert len(hashes) == 1
    write(path, CONTENT)
    check_file(path, info)
    assert len(hashes) == 2


def test_damage_after_a_check_is_noticed(path):
    """The size and, on local disks, the time of the file may stay as they were."""
    info = record_file(path)
    check_file(path, info)
    if files.is_local(path):
        times = os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns
        with open(path, "r+b") as file:
            file.write(b"x")
        os.utime(path, ns=times)
    else:
        fsspec.filesystem("memory").pipe(path, b"x" + CONTENT[1:])
    with pytest.raises(DamagedFileError):
        check_file(path, info)


def test_an_error_is_not_remembered(path):
    info = record_file(path)
    write(path, b"y" + CONTENT[1:])
    for _ in range(2):
        with pytest.raises(DamagedFileError):
            check_file(path, info)
    write(path, CONTENT)
    check_file(path, info)


def test_few_results_are_remembered():
    assert integrity._check_once.cache_parameters()["maxsize"] <= 1 << 16
