"""Check that files have the bytes their receipts record.

A receipt has the size, the sha256 and the XXH3-128 of each file. Readers compare the XXH3-128: it
costs a fraction of reading. Receipts of earlier versions lack it, and their sha256 is compared.

A file is hashed once per process, before its content is used or while it is streamed. After a
local file is hashed, the reader gets it from the page cache.
"""

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, Any

import xxhash
from fsspec.implementations.local import LocalFileSystem

from mmfeat.errors import DamagedFileError
from mmfeat.storage import files
from mmfeat.storage.conditional import conditional_store
from mmfeat.store.schemas import RecordedFile

_BLOCK_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 17
"""It stays in the cache of the processor."""

_MAX_REMEMBERED = 1 << 14
"""Files of which a process remembers that they are intact: a few megabytes."""


def check_file(path: str, info: RecordedFile) -> None:
    """Check a file against its receipt, once per process while the file does not change.

    Args:
        path: the file.
        info: what the receipt records of it.

    Raises:
        DamagedFileError: the file is missing, or has another size or other bytes.
    """
    _check_once(path, _version(path, info), info["bytes"], *_digest_of(info))


def open_checked(path: str, info: RecordedFile) -> IO[bytes]:
    """Open a file whose bytes are those of its receipt; arguments and errors as in `check_file`.

    A remote file is read into memory, so that it is downloaded once.
    """
    if files.is_local(path):
        check_file(path, info)
        return files.open_input(path)
    return io.BytesIO(read_checked(path, info))


def read_checked(path: str, info: RecordedFile) -> bytes:
    """Return the bytes of a file after comparing them; arguments and errors as in `check_file`."""
    try:
        data = files.read_bytes(path, info["bytes"])
    except (FileNotFoundError, NotADirectoryError, files.NotAFileError):
        raise _other_size(path, info, None) from None
    if len(data) != info["bytes"]:
        raise _other_size(path, info, len(data))
    algorithm, expected = _digest_of(info)
    if _HASHES[algorithm](data).hexdigest() != expected:
        raise _other_bytes(path, algorithm)
    return data


def record_file(path: str) -> RecordedFile:
    """Return the size and the digests of a file, by reading it."""
    recorder = FileRecorder()
    with files.open_input(path) as file:
        for _ in recorder.read(file):
            pass
    return recorder.info


class FileRecorder:
    """Takes the size and the digests of a file while it is read."""

    def __init__(self) -> None:
        self._size = 0
        self._sha256, self._xxh3 = hashlib.sha256(), xxhash.xxh3_128()

    def read(self, file: IO[bytes]) -> Iterator[bytes]:
        """Yield the content of a file in blocks of 1 MiB; the last one is shorter."""
        while block := file.read(_BLOCK_BYTES):
            self._size += len(block)
            self._sha256.update(block)
            self._xxh3.update(block)
            yield block

    @property
    def info(self) -> RecordedFile:
        """The size and the digests of what was read."""
        sha256, xxh3 = self._sha256.hexdigest(), self._xxh3.hexdigest()
        return {"bytes": self._size, "sha256": sha256, "xxh3_128": xxh3}


class CheckedStream(io.RawIOBase):
    """A file that is hashed while it is read from start to end.

    The reader calls `check` before it commits what it made from the bytes.

    Args:
        path: the file.
        info: what the receipt records of it.

    Raises:
        DamagedFileError: the file is missing or has another size.
    """

    def __init__(self, path: str, info: RecordedFile) -> None:
        super().__init__()
        if conditional_store(path) is None:  # those are not asked before they are read
            _version(path, info)
        self._path, self._info = path, info
        self._algorithm, self._expected = _digest_of(info)
        self._hash = _HASHES[self._algorithm]()
        self._file = files.open_input(path, info["bytes"])

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes, all that are left by default."""
        with self._missing_file_errors():
            data = self._file.read(-1 if size is None else size)
        self._hash.update(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer; return how many."""
        with self._missing_file_errors():
            count = int(self._file.readinto(buffer))  # type: ignore[attr-defined]
        self._hash.update(memoryview(buffer)[:count])
        return count

    @contextmanager
    def _missing_file_errors(self) -> Iterator[None]:
        """An object is requested when it is read first."""
        try:
            yield
        except FileNotFoundError:
            raise _other_size(self._path, self._info, None) from None

    def check(self) -> None:
        """Read the rest of the file and compare its digest.

        Raises:
            DamagedFileError: the file has other bytes than its receipt records.
        """
        while self.read(_BLOCK_BYTES):
            pass
        if self._hash.hexdigest() != self._expected:
            raise _other_bytes(self._path, self._algorithm)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


_HASHES: dict[str, Any] = {"xxh3_128": xxhash.xxh3_128, "sha256": hashlib.sha256}


def _digest_of(info: RecordedFile) -> tuple[str, str]:
    """Return the algorithm that readers use, and the digest."""
    if "xxh3_128" in info:
        return "xxh3_128", info["xxh3_128"]
    return "sha256", info["sha256"]


def _version(path: str, info: RecordedFile) -> str:
    """Return a text that changes if the file does.

    Raises:
        DamagedFileError: the file is missing or has another size than the receipt records.
    """
    fs, name = files.filesystem(path)
    if isinstance(fs, LocalFileSystem):  # one call of the system instead of four
        try:
            status = os.stat(name)
        except (FileNotFoundError, NotADirectoryError):
            size, version = None, ""
        else:
            size = status.st_size if stat.S_ISREG(status.st_mode) else None
            version = f"{status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"
    else:
        size = files.size(path)
        version = "" if size is None else str(fs.ukey(name))
    if size != info["bytes"]:
        raise _other_size(path, info, size)
    return version


@lru_cache(_MAX_REMEMBERED)
def _check_once(path: str, version: str, size: int, algorithm: str, expected: str) -> None:
    """Hash a file. lru_cache remembers files that are intact, and no errors."""
    digest = _HASHES[algorithm]()
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    with _open_unbuffered(path) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    if digest.hexdigest() != expected:
        raise _other_bytes(path, algorithm)


def _open_unbuffered(path: str) -> Any:
    """Open a file for reading into a large buffer."""
    fs, name = files.filesystem(path)
    return open(name, "rb", 0) if isinstance(fs, LocalFileSystem) else files.open_input(path)


def _other_size(path: str, info: RecordedFile, size: int | None) -> DamagedFileError:
    got = "no such file" if size is None else f"{size:,} bytes"
    return _damaged(path, f"must have the {info['bytes']:,} bytes of its receipt", got)


def _other_bytes(path: str, algorithm: str) -> DamagedFileError:
    return _damaged(path, "must have the bytes of its receipt", f"bytes with another {algorithm}")


def _damaged(path: str, rule: str, got: str) -> DamagedFileError:
    return DamagedFileError(
        f"{path} {rule}",
        got=got,
        cure="Restore the file, or run mmfeat verify --fix on its store and make it again",
    )
