"""Object stores: writes that fail if somebody else has written since, and listings.

Object stores have no locks. Some of them compare the version of an object while they replace it, so
of two runs that write the same object at once, one learns that it has lost.

    store       version       enforced by
    s3://       ETag          If-None-Match and If-Match of PutObject
    gs://       generation    ifGenerationMatch
"""

import errno
import os
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import IO, Any, TypeAlias
from urllib.parse import quote

from mmfeat.system import filesystem

Version: TypeAlias = str | None
"""The version of an object; None if there is none."""

Upload: TypeAlias = Callable[[str, str], None]
"""Uploads a local file: path of the file, name of the object."""

_MAX_MEMORY = 64 << 20
"""Maximum size of a file that is read into memory to replace an object."""


class ObjectChangedError(Exception):
    """Somebody else has written the object."""


class ConditionalStore(ABC):
    """The conditional writes of one kind of object store.

    Args:
        fs: its file system.
    """

    version_key: str
    """Entry of the facts about an object that is its version."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def version(self, name: str) -> Version:
        """Return the present version of an object."""
        try:
            return str(self._describe(name)[self.version_key])
        except FileNotFoundError:
            return None

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size of each object in a folder: name in the folder → bytes."""
        return _list_sizes(self._fs, folder)

    def upload(self, file: str, name: str, version: Version) -> None:
        """Upload a local file.

        Args:
            file: path of the local file.
            name: the object.
            version: the version that it replaces; None = it must not exist.

        Raises:
            ObjectChangedError: the object has another version.
        """
        try:
            if version is None:
                self._fs.put_file(file, name, mode="create")
            else:
                self._replace_file(file, name, version)
        except OSError as error:
            if _is_conflict(error):
                raise ObjectChangedError(name) from error
            raise
        finally:
            self._fs.invalidate_cache(posixpath.dirname(name))

    def _replace_file(self, file: str, name: str, version: str) -> None:
        size = os.path.getsize(file)
        with open(file, "rb") as stream:
            if size <= _MAX_MEMORY:
                self._replace(stream.read(), name, version)
                return
            self._replace(stream, name, version)
        # A client that retries may send the rest of a stream that it has read before.
        self._fs.invalidate_cache(posixpath.dirname(name))
        if self._fs.info(name)["size"] != size:
            raise OSError(errno.EIO, "the upload is incomplete", name)

    def _describe(self, name: str) -> Mapping[str, Any]:
        """Return the facts about an object, by one request.

        Raises:
            FileNotFoundError: there is no such object.
        """
        self._fs.invalidate_cache(posixpath.dirname(name))
        facts: Mapping[str, Any] = self._fs.info(name)
        return facts

    def create(self, content: bytes, name: str) -> None:
        """Create a small object.

        Raises:
            ObjectChangedError: it exists.
        """
        try:
            self._fs.pipe_file(name, content, mode="create")
        except OSError as error:
            if _is_conflict(error):
                raise ObjectChangedError(name) from error
            raise

    @abstractmethod
    def _replace(self, content: bytes | IO[bytes], name: str, version: str) -> None:
        """Replace a version of an object; an error as in `_is_conflict` if it has another one."""


class S3Store(ConditionalStore):
    """Amazon S3 and servers with its conditional writes; at most 5 GB for a replaced object."""

    version_key = "ETag"

    def _describe(self, name: str) -> Mapping[str, Any]:
        bucket, key, _ = self._fs.split_path(name)
        facts: Mapping[str, Any] = self._fs.call_s3("head_object", Bucket=bucket, Key=key)
        return facts

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size of each object in a folder: name in the folder → bytes."""
        bucket, key, _ = self._fs.split_path(folder)
        sizes: dict[str, int] = {}
        query = {"Bucket": bucket, "Prefix": f"{key}/" if key else "", "Delimiter": "/"}
        while True:
            page = self._fs.call_s3("list_objects_v2", **query)
            start = len(query["Prefix"])
            sizes |= {entry["Key"][start:]: entry["Size"] for entry in page.get("Contents", ())}
            if not page.get("IsTruncated"):
                return sizes
            query["ContinuationToken"] = page["NextContinuationToken"]

    def _replace(self, content: bytes | IO[bytes], name: str, version: str) -> None:
        bucket, key, _ = self._fs.split_path(name)
        try:
            self._fs.call_s3("put_object", Bucket=bucket, Key=key, Body=content, IfMatch=version)
        except FileNotFoundError as error:  # it was removed
            raise FileExistsError(name) from error


class GcsStore(ConditionalStore):
    """Google Cloud Storage."""

    version_key = "generation"

    def _describe(self, name: str) -> Mapping[str, Any]:
        bucket, key, _ = self._fs.split_path(name)
        facts: Mapping[str, Any] = self._fs.call("GET", "b/{}/o/{}", bucket, key, json_out=True)
        return facts

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size of each object in a folder: name in the folder → bytes."""
        bucket, key, _ = self._fs.split_path(folder)
        prefix = f"{key}/" if key else ""
        sizes: dict[str, int] = {}
        query = {"prefix": prefix, "delimiter": "/", "fields": "items(name,size),nextPageToken"}
        while True:
            page = self._fs.call("GET", "b/{}/o", bucket, json_out=True, **query)
            items = page.get("items", ())
            sizes |= {item["name"][len(prefix) :]: int(item["size"]) for item in items}
            if not (token := page.get("nextPageToken")):
                return sizes
            query["pageToken"] = token

    def _replace(self, content: bytes | IO[bytes], name: str, version: str) -> None:
        bucket, key, _ = self._fs.split_path(name)
        self._fs.call(
            "POST",
            f"{self._fs._location}/upload/storage/v1/b/{quote(bucket)}/o",
            uploadType="media",
            name=key,
            ifGenerationMatch=version,
            headers={"Content-Type": "application/octet-stream"},
            data=content,
        )


def _is_conflict(error: OSError) -> bool:
    """Return whether a store has refused a write because the object has another version."""
    response = getattr(error.__cause__, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    # 412: a condition does not hold. 409: another conditional write is in progress.
    return isinstance(error, FileExistsError) or status in (409, 412)


STORES: dict[str, type[ConditionalStore]] = {
    **dict.fromkeys(("s3", "s3a"), S3Store),
    **dict.fromkeys(("gs", "gcs"), GcsStore),
}
"""Protocol of fsspec → its conditional writes."""


def conditional_store(path: str) -> ConditionalStore | None:
    """Return the conditional writes of the store that has a path; None if it has none."""
    fs, _ = filesystem(path)
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    kind = next((STORES[protocol] for protocol in protocols if protocol in STORES), None)
    return kind(fs) if kind else None


def list_sizes(folder: str) -> dict[str, int]:
    """Return the size of each file in a folder, by few requests: name → bytes.

    It is empty if the folder does not exist.
    """
    fs, name = filesystem(folder)
    store = conditional_store(folder)
    return store.sizes(name) if store else _list_sizes(fs, name)


def _list_sizes(fs: Any, folder: str) -> dict[str, int]:
    fs.invalidate_cache(folder)
    try:
        entries = fs.ls(folder, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {posixpath.basename(e["name"]): e["size"] for e in entries if e["type"] == "file"}


def expect_version(store: ConditionalStore, version: Version) -> Upload:
    """Return an upload that raises `ObjectChangedError` if the object has another version."""
    return lambda file, name: store.upload(file, name, version)
