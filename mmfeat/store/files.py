"""Files through fsspec: a path is local, `memory://`, `gs://`, `s3://`, `http://`, alike.

A file appears whole or not at all. Local ones are written under a temporary name and renamed;
remote ones are built on local disk and put in one piece.
"""

import hashlib
import json
import os
import posixpath
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mmfeat.errors import MmfeatError

_TEMPORARY = ".tmp-"


def filesystem(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a path and the path as that file system names it.

    Raises:
        MmfeatError: no such protocol, or the package behind it is not installed.
    """
    try:
        return fsspec.core.url_to_fs(os.fspath(path))
    except (ValueError, ImportError) as error:
        raise MmfeatError(
            f"cannot open {path}: {error}",
            cure="Install the fsspec package of that protocol (gcsfs, s3fs, …) or use a local path",
        ) from error


def join(base: str, *names: str) -> str:
    """`base/name/…`, for local paths and URLs."""
    return posixpath.join(base, *names)


def is_local(path: str) -> bool:
    """Whether the path lies on this machine's disk."""
    return isinstance(filesystem(path)[0], LocalFileSystem)


def exists(path: str) -> bool:
    """Whether there is a file or folder at the path."""
    fs, name = filesystem(path)
    return bool(fs.exists(name))


def is_folder(path: str) -> bool:
    """Whether there is a folder at the path."""
    fs, name = filesystem(path)
    return bool(fs.isdir(name))


def size(path: str) -> int | None:
    """Bytes in the regular file at the path; None where there is none."""
    fs, name = filesystem(path)
    try:
        info = fs.info(name)
    except FileNotFoundError:
        return None
    return info["size"] if info["type"] == "file" else None


def names_in(folder: str) -> list[str]:
    """Sorted names of what lies directly in a folder; empty where there is no such folder."""
    fs, name = filesystem(folder)
    try:
        entries = fs.ls(name, detail=False, refresh=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(posixpath.basename(entry.rstrip("/")) for entry in entries)


def open_input(path: str) -> IO[bytes]:
    """The file at the path, for reading bytes."""
    fs, name = filesystem(path)
    file: IO[bytes] = fs.open(name, "rb")
    return file


def remove(path: str) -> None:
    """Remove a file or a folder with all that is in it; nothing there is fine."""
    fs, name = filesystem(path)
    if fs.exists(name):
        fs.rm(name, recursive=True)


class Output:
    """A file being written: counts and hashes what passes, so that nothing is read twice."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, data: Any) -> int:
        """Append bytes."""
        view = memoryview(data)
        self._hash.update(view)
        self.bytes += view.nbytes
        self._file.write(view)
        return view.nbytes

    def tell(self) -> int:
        """Bytes written so far."""
        return self.bytes

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        self._file.flush()

    closed = False

    def describe(self) -> dict[str, Any]:
        """What a receipt says of the file."""
        return {"bytes": self.bytes, "sha256": self._hash.hexdigest()}


@contextmanager
def create(path: str) -> Iterator[Output]:
    """Write a file that appears at `path` only when the block ends well."""
    fs, name = filesystem(path)
    local = isinstance(fs, LocalFileSystem)
    folder = posixpath.dirname(name)
    if local:
        os.makedirs(folder, exist_ok=True)
        temporary = posixpath.join(
            folder, f".{posixpath.basename(name)}{_TEMPORARY}{uuid.uuid4().hex}"
        )
    else:
        handle, temporary = tempfile.mkstemp(prefix="mmfeat-")
        os.close(handle)
    try:
        with open(temporary, "wb") as file:
            yield (output := Output(file))
            output.flush()
            if local:
                os.fsync(file.fileno())
        if local:
            os.replace(temporary, name)
        else:
            fs.makedirs(folder, exist_ok=True)
            fs.put_file(temporary, name)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def remove_temporaries(folder: str) -> None:
    """Remove what a killed run left half-written in a local folder and those below it."""
    fs, name = filesystem(folder)
    if not isinstance(fs, LocalFileSystem):
        return
    for parent, _, files in os.walk(name):
        for file in files:
            if file.startswith(".") and _TEMPORARY in file:
                os.remove(posixpath.join(parent, file))


def write_json(path: str, value: Any) -> None:
    """Write a JSON document, whole or not at all."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=False) + "\n"
    with create(path) as output:
        output.write(text.encode())


def read_json(path: str) -> Any:
    """The JSON document at the path; None where there is none or it is not JSON."""
    try:
        with open_input(path) as file:
            return json.loads(file.read())
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None


@contextmanager
def local_copy(path: str) -> Iterator[str]:
    """A local path of the file, for readers that map memory; remote files are fetched."""
    fs, name = filesystem(path)
    if isinstance(fs, LocalFileSystem):
        yield name
        return
    with tempfile.TemporaryDirectory(prefix="mmfeat-") as folder:
        copy = os.path.join(folder, posixpath.basename(name))
        with fs.open(name, "rb") as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        yield copy
