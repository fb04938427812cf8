"""The bytes of a part, wherever it is: bounded in size, and every trouble a reason."""

import base64
import binascii
import os
import stat
import time
from dataclasses import dataclass, field
from functools import cached_property

from mmfeat.errors import RecordError
from mmfeat.media.http import HttpReader
from mmfeat.records.media_ref import (
    Base64Ref,
    BytesRef,
    FileRef,
    MediaRef,
    ParquetCellRef,
    TarMemberRef,
    TextRef,
)
from mmfeat.store import files

_PAUSE = 0.2
"""Seconds to wait before another try at a file of another machine; they grow with each."""


@dataclass(frozen=True)
class Connection:
    """How files are fetched by http and https.

    Attributes:
        timeout: seconds to wait for an answer, or for its next bytes.
        retries: tries after the first where a server is busy or breaks off.
        per_host: connections to one host at a time.
    """

    timeout: float = 30.0
    retries: int = 3
    per_host: int = 16


@dataclass(frozen=True)
class ContentReader:
    """Reads parts.

    Args:
        max_bytes: a larger part is not read.
        connection: how files are fetched by http.
    """

    max_bytes: int
    connection: Connection = field(default_factory=Connection)

    def read(self, part: MediaRef) -> bytes:
        """The bytes of a part, at least one.

        Raises:
            RecordError: it is not there, not readable, empty, too large, or no base64.
        """
        content = self._content(part)
        if len(content) > self.max_bytes:
            raise RecordError("too_large", f"{part.name}: more than {self.max_bytes} bytes")
        if not content:
            raise RecordError("empty", part.name)
        return content

    def _content(self, part: MediaRef) -> bytes:
        match part:
            case TextRef(value):
                return _utf8(value)
            case FileRef(path):
                return self._file(path)
            case TarMemberRef():
                return self._member(part)
            case Base64Ref(value):
                return _decoded(value, part.name)
            case BytesRef(data):
                return data
            case ParquetCellRef():
                raise AssertionError("cells are read in the order of their table, see cells.py")

    @cached_property
    def _http(self) -> HttpReader:
        return HttpReader(
            max_bytes=self.max_bytes,
            per_host=self.connection.per_host,
            timeout=self.connection.timeout,
            retries=self.connection.retries,
        )

    def _file(self, path: str) -> bytes:
        try:
            if "://" not in path:
                return self._local(path)
            if path.startswith(("http://", "https://")):
                return self._http.read(path)
            return self._remote(path)
        except FileNotFoundError:
            raise RecordError("not_found", path) from None
        except (OSError, ValueError, ImportError, files.MmfeatError) as error:
            raise RecordError("unreadable", f"{path}: {error}") from error

    def _local(self, path: str) -> bytes:
        """A file of this machine; no pipe or device is waited for."""
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb", buffering=0) as file:
            info = os.fstat(handle)
            if not stat.S_ISREG(info.st_mode):
                raise RecordError("unreadable", f"{path}: not a regular file")
            self._bound(path, info.st_size)
            # One byte more than it should have tells that it grew meanwhile.
            content = file.read(info.st_size + 1) or b""
            while len(content) < info.st_size and (more := file.read(info.st_size - len(content))):
                content += more
        return content

    def _remote(self, path: str) -> bytes:
        """A file of another machine; what may pass is tried again."""
        for tries_left in range(self.connection.retries, 0, -1):
            try:
                return self._remote_once(path)
            except (FileNotFoundError, PermissionError, IsADirectoryError):
                raise
            except OSError:
                time.sleep(_PAUSE * (1 + self.connection.retries - tries_left))
        return self._remote_once(path)

    def _remote_once(self, path: str) -> bytes:
        fs, name = files.filesystem(path)
        info = fs.info(name)
        if info["type"] != "file":
            raise RecordError("unreadable", f"{path}: a {info['type']}, not a file")
        self._bound(path, info["size"] or 0)
        with fs.open(name, "rb") as file:
            content: bytes = file.read(self.max_bytes + 1)
        return content

    def _member(self, part: TarMemberRef) -> bytes:
        self._bound(part.name, part.size)
        with files.open_input(part.tar) as tar:
            tar.seek(part.offset)
            content = tar.read(part.size)
        if len(content) != part.size:
            detail = f"{part.name}: {len(content)} of {part.size} bytes are there"
            raise RecordError("damaged_shard", detail)
        return content

    def _bound(self, name: str, size: int) -> None:
        if size > self.max_bytes:
            raise RecordError("too_large", f"{name}: {size} bytes")


def _utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise RecordError("undecodable", str(error)) from error


def _decoded(value: str, name: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)  # it may come in lines
    except (binascii.Error, ValueError) as error:
        raise RecordError("undecodable", f"{name}: no base64: {error}") from error
