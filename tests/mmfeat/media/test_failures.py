import errno
import ssl

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.media import HttpSettings, MediaFetcher
from mmfeat.media.failures import failure_reason
from mmfeat.records import REASONS, FileRef


class StorageError(Exception):
    """An error as the libraries of remote storage raise it: not an OSError."""

    def __init__(self, **attributes: object) -> None:
        super().__init__("the storage failed")
        vars(self).update(attributes)


class Response:
    status_code = 503


def wrapped(cause: BaseException) -> OSError:
    error = OSError(errno.EIO, "wrapped")
    error.__cause__ = cause
    return error


UNAVAILABLE = [
    ConnectionResetError("reset"),
    TimeoutError("timed out"),
    TimeoutError(),
    OSError(errno.EIO, "input/output error"),
    OSError(errno.ESTALE, "stale file handle"),
    OSError(errno.ETIMEDOUT, "timed out"),
    OSError(errno.EMFILE, "too many open files"),
    OSError(errno.EBUSY, "slow down"),
    ssl.SSLEOFError("handshake"),
    EOFError(),
    StorageError(),
    StorageError(status=503),
    StorageError(code=429),
    StorageError(status_code=500),
    StorageError(response=Response()),
    StorageError(response={"ResponseMetadata": {"HTTPStatusCode": 503}}),
    wrapped(StorageError(code=408)),
]
UNREADABLE = [
    PermissionError("access denied"),
    IsADirectoryError("a folder"),
    ValueError("invalid name"),
    ImportError("install s3fs"),
    MmfeatError("unknown protocol"),
    OSError(errno.EINVAL, "invalid argument"),
    OSError(errno.ENAMETOOLONG, "name too long"),
    ssl.SSLCertVerificationError("expired"),
    StorageError(status=403),
    StorageError(response={"ResponseMetadata": {"HTTPStatusCode": 400}}),
    wrapped(StorageError(code=401)),
]
NOT_FOUND = [FileNotFoundError("gone"), StorageError(status=404), wrapped(StorageError(code=410))]
CASES = [
    (error, reason)
    for reason, errors in {
        "unavailable": UNAVAILABLE, "unreadable": UNREADABLE, "not_found": NOT_FOUND
    }.items()
    for error in errors
]  # fmt: skip


@pytest.mark.parametrize(("error", "reason"), CASES, ids=[repr(error) for error, _ in CASES])
def test_remote_failures_that_can_pass_are_unavailable(error: Exception, reason: str) -> None:
    assert reason in REASONS
    assert failure_reason(error, remote=True) == reason


def test_unknown_local_errors_are_permanent() -> None:
    assert failure_reason(OSError(errno.EIO, "the mount is gone"), remote=False) == "unavailable"
    assert failure_reason(OSError(errno.ENXIO, "a socket"), remote=False) == "unreadable"
    assert failure_reason(OSError("no number"), remote=False) == "unreadable"


class FailingFileSystem(MemoryFileSystem):
    """A remote file system that fails a number of times."""

    protocol = "failing"
    failures: list[Exception] = []  # noqa: RUF012 - the test sets it

    def cat_file(self, path: str, **options: object) -> bytes:
        if self.failures:
            raise self.failures.pop()
        return bytes(super().cat_file(path, **options))


@pytest.mark.parametrize(("error", "reason"), CASES, ids=[repr(error) for error, _ in CASES])
def test_fetcher_tries_again_what_can_pass(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    fsspec.register_implementation("failing", FailingFileSystem, clobber=True)
    monkeypatch.setattr("mmfeat.media.fetch.RETRY_PAUSE", 0)
    with fsspec.open("failing://folder/a.bin", "wb") as file:
        file.write(b"content")
    fetcher = MediaFetcher(1000, HttpSettings(retries=2))
    can_pass = reason == "unavailable"
    monkeypatch.setattr(FailingFileSystem, "failures", [error] * 3)
    with pytest.raises(RecordError) as caught:
        fetcher.fetch(FileRef("failing://folder/a.bin"))
    assert caught.value.reason == reason
    assert len(FailingFileSystem.failures) == (0 if can_pass else 2)
    monkeypatch.setattr(FailingFileSystem, "failures", [error] * 2)
    if can_pass:
        assert fetcher.fetch(FileRef("failing://folder/a.bin")) == b"content"
