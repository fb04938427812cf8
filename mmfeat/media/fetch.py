"""Fetch the bytes of a media reference, with a size limit. Every failure is a `RecordError`."""

import base64
import binascii
import os
import stat
import time
from dataclasses import dataclass, field
from functools import cached_property

from mmfeat.errors import RecordError
from mmfeat.media.failures import failure_reason
from mmfeat.media.http import HttpClient, HttpSettings
from mmfeat.media.read_policy import ReadPolicy, strip_file_protocol
from mmfeat.records import (
    PASSING_REASON,
    Base64Ref,
    BytesRef,
    FileRef,
    MediaRef,
    ParquetCellRef,
    TarMemberRef,
    TextRef,
)
from mmfeat.storage import files
from mmfeat.system import is_http, is_url

RETRY_PAUSE = 0.2
"""Seconds before the first retry of a remote file; the pause grows with each retry."""


@dataclass(frozen=True)
class MediaFetcher:
    """Fetches media from files, URLs, tars and table cells.

    Args:
        max_bytes: larger media are refused.
        http: settings for HTTP.
        policy: what may be read.
    """

    max_bytes: int
    http: HttpSettings = field(default_factory=HttpSettings)
    policy: ReadPolicy = field(default_factory=ReadPolicy)

    def fetch(self, ref: MediaRef) -> bytes:
        """Return the bytes of a reference, at least one.

        Raises:
            RecordError: the media are missing, unreadable, empty, too large, not base64, or must
                not be read.
        """
        content = self._read(ref)
        if len(content) > self.max_bytes:
            raise RecordError("too_large", f"{ref.name}: more than {self.max_bytes} bytes")
        if not content:
            raise RecordError("empty", ref.name)
        return content

    def _read(self, ref: MediaRef) -> bytes:
        match ref:
            case TextRef(value):
                return _encode_utf8(value)
            case FileRef(path):
                return self._read_file(path)
            case TarMemberRef():
                return self._read_member(ref)
            case Base64Ref(value):
                return _decode_base64(value, ref.name)
            case BytesRef(data):
                return data
            case ParquetCellRef():
                raise AssertionError("parquet_media must resolve Parquet cells first")

    @cached_property
    def _http_client(self) -> HttpClient:
        return HttpClient(self.max_bytes, self.http, self.policy)

    def _read_file(self, path: str) -> bytes:
        path = strip_file_protocol(path)
        remote = is_url(path)
        try:
            if not remote:
                return self._read_local(path)
            if is_http(path):
                return self._http_client.get(path)
            self.policy.check_url(path)
            return self._read_remote(path)
        except RecordError:
            raise
        except Exception as error:  # libraries of remote storage have errors of their own
            reason = failure_reason(error, remote=remote)
            detail = path if isinstance(error, FileNotFoundError) else f"{path}: {error}"
            raise RecordError(reason, detail) from error

    def _read_local(self, path: str) -> bytes:
        handle = self.policy.open_local(path)
        with open(handle, "rb", buffering=0) as file:
            info = os.fstat(handle)
            if not stat.S_ISREG(info.st_mode):
                raise RecordError("unreadable", f"{path}: not a regular file")
            self._check_size(path, info.st_size)
            # One byte more shows if the file has grown.
            content = file.read(info.st_size + 1) or b""
            while len(content) < info.st_size and (more := file.read(info.st_size - len(content))):
                content += more
        return content

    def _read_remote(self, path: str) -> bytes:
        """Read a remote file; retry errors that can pass."""
        retries = self.http.retries
        for retry in range(1, retries + 1):
            try:
                return self._read_remote_once(path)
            except RecordError:
                raise
            except Exception as error:
                if failure_reason(error, remote=True) != PASSING_REASON:
                    raise
                time.sleep(RETRY_PAUSE * retry)
        return self._read_remote_once(path)

    def _read_remote_once(self, path: str) -> bytes:
        try:
            return files.read_bytes(path, self.max_bytes)
        except (FileNotFoundError, IsADirectoryError):
            fs, name = files.filesystem(path)
            if (kind := fs.info(name)["type"]) == "file":
                raise
            raise RecordError("unreadable", f"{path}: a {kind}, not a file") from None

    def _read_member(self, ref: TarMemberRef) -> bytes:
        self._check_size(ref.name, ref.size)
        with files.open_input(ref.tar) as tar:
            tar.seek(ref.offset)
            content = tar.read(ref.size)
        if len(content) != ref.size:
            detail = f"{ref.name}: {len(content)} of {ref.size} bytes are there"
            raise RecordError("damaged_shard", detail)
        return content

    def _check_size(self, name: str, size: int) -> None:
        if size > self.max_bytes:
            raise RecordError("too_large", f"{name}: {size} bytes")


def _encode_utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise RecordError("undecodable", str(error)) from error


def _decode_base64(value: str, name: str) -> bytes:
    try:
        # Base64 may be wrapped into lines.
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RecordError("undecodable", f"{name}: no base64: {error}") from error
