"""Files through fsspec: a path is local or a URL (`memory://`, `gs://`, `s3://`, `http://`).

Writes are atomic. A local file is written under a temporary name and renamed; a remote file is
written to local disk and uploaded in one piece. The content of a local file is on disk before it
gets its name. The name is on disk after the next `sync_folder`, `write_json` or `remove` there.
"""

import errno
import io
import json
import os
import posixpath
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from mmfeat.storage import local_disk
from mmfeat.storage.conditional import Upload, conditional_store
from mmfeat.storage.json_text import (
    MAX_JSON_BYTES,
    add_checksum,
    object_pieces,
    parse_json,
)
from mmfeat.storage.json_text import RESTORE as RESTORE
from mmfeat.storage.object_reader import ObjectReader, is_refused_range
from mmfeat.storage.output_file import OutputFile, open_output
from mmfeat.system import filesystem, scratch_folder

_BUFFER_BYTES = 1 << 16


class NotAFileError(OSError):
    """A pipe is in the place of a file."""


def join(base: str, *names: str) -> str:
    """Join path components, for local paths and URLs."""
    return posixpath.join(base, *names)


def is_local(path: str) -> bool:
    """Return whether the path is on a local disk."""
    return isinstance(filesystem(path)[0], LocalFileSystem)


def exists(path: str) -> bool:
    """Return whether the path is a file or a folder."""
    fs, name = filesystem(path)
    return bool(fs.exists(name))


def is_file(path: str) -> bool:
    """Return whether the path is a regular file, or a link to one."""
    fs, name = filesystem(path)
    return bool(fs.isfile(name))


def is_folder(path: str) -> bool:
    """Return whether the path is a folder."""
    fs, name = filesystem(path)
    return bool(fs.isdir(name))


def size(path: str) -> int | None:
    """Return the size of a regular file in bytes, or None if there is none."""
    fs, name = filesystem(path)
    try:
        if isinstance(fs, LocalFileSystem):  # one call of the system
            status = os.stat(name)
            return status.st_size if stat.S_ISREG(status.st_mode) else None
        info = fs.info(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return info["size"] if info["type"] == "file" else None


def list_names(folder: str, keep: Callable[[str], bool] = bool) -> list[str]:
    """List the names in a folder, sorted; empty if the folder does not exist.

    Args:
        folder: the folder.
        keep: which names are listed. Others take no memory if the folder is local.
    """
    fs, name = filesystem(folder)
    try:
        if isinstance(fs, LocalFileSystem):
            with os.scandir(name) as entries:
                return sorted(filter(keep, (entry.name for entry in entries)))
        entries = fs.ls(name, detail=False, refresh=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(filter(keep, (posixpath.basename(entry.rstrip("/")) for entry in entries)))


def open_input(path: str, known_size: int | None = None) -> IO[bytes]:
    """Open a file for reading bytes.

    Args:
        path: the file.
        known_size: its size, if it is known; an object store is not asked for it then.
    """
    fs, name = filesystem(path)
    if known_size is None or conditional_store(path) is None:
        return cast(IO[bytes], fs.open(name, "rb"))
    return io.BufferedReader(ObjectReader(fs, name, known_size), _BUFFER_BYTES)


def read_bytes(path: str, max_bytes: int) -> bytes:
    """Return the bytes of a file, at most `max_bytes` and one more, by one request.

    Raises:
        FileNotFoundError: there is no such file.
    """
    fs, name = filesystem(path)
    if isinstance(fs, LocalFileSystem):
        with _open_regular(name) as file:
            content = file.read(_BUFFER_BYTES)
            if len(content) == _BUFFER_BYTES:
                content += file.read(max_bytes + 1 - len(content))
            return content
    if conditional_store(path) and "/" not in name:
        raise IsADirectoryError(errno.EISDIR, "it is a bucket", path)
    try:
        return bytes(fs.cat_file(name, start=0, end=max_bytes + 1))
    except Exception as error:
        if is_refused_range(error) and not fs.info(name)["size"]:
            return b""
        raise


def _open_regular(path: str) -> IO[bytes]:
    """Open a local file. A pipe, which would wait for a writer, is an error."""
    file = open(  # noqa: SIM115 - the caller closes it
        path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)
    )
    if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotAFileError(errno.EINVAL, "it is a pipe, not a file", path)
    return file


def read_range(path: str, offset: int, length: int) -> bytes:
    """Return bytes of a file from an offset on, fewer if it is shorter, by one request.

    Raises:
        FileNotFoundError: there is no such file.
    """
    fs, name = filesystem(path)
    if isinstance(fs, LocalFileSystem):
        with _open_regular(name) as file:
            rest = os.fstat(file.fileno()).st_size - offset  # bounds the memory
            file.seek(offset if rest > 0 else 0)
            return file.read(max(0, min(length, rest)))
    try:
        return bytes(fs.cat_file(name, start=offset, end=offset + length)) if length else b""
    except Exception as error:
        if not is_refused_range(error) or fs.info(name)["size"] > offset:
            raise
        return b""


def open_decompressed(path: str) -> IO[bytes]:
    """Open a file for reading; `.gz` and `.zst` are decompressed."""
    if path.lower().endswith(".zst"):
        # Arrow reads all frames and raises an error if the file is truncated.
        stream: Any = pa.CompressedInputStream(open_input(path), "zstd")
        return io.BufferedReader(stream, _BUFFER_BYTES)
    fs, name = filesystem(path)
    file: IO[bytes] = fs.open(name, "rb", compression="infer")
    return file


def remove_file(path: str, *, sync: bool = True) -> None:
    """Remove a file, if it exists.

    Args:
        path: the file.
        sync: whether the removal is durable.
    """
    fs, name = filesystem(path)
    try:
        fs.rm_file(name)
    except FileNotFoundError:
        return
    if sync:
        sync_folder(posixpath.dirname(path))


def remove_files(paths: Sequence[str]) -> None:
    """Remove existing files of one folder, with few requests. The removal is durable."""
    if not paths:
        return
    fs, _ = filesystem(paths[0])
    if isinstance(fs, LocalFileSystem):
        for path in paths:
            remove_file(path, sync=False)
    else:
        with suppress(FileNotFoundError):  # an object is gone if only the answer was lost
            fs.rm([filesystem(path)[1] for path in paths])
    sync_folder(posixpath.dirname(paths[0]))


def remove(path: str) -> None:
    """Remove a file or a folder with its content, if it exists. The removal is durable."""
    fs, name = filesystem(path)
    if fs.exists(name):
        with suppress(FileNotFoundError):  # an object is gone if only the answer was lost
            fs.rm(name, recursive=True)
        sync_folder(posixpath.dirname(path))


def sync_folder(folder: str) -> None:
    """Wait until new, renamed and removed files of a local folder are on disk."""
    fs, name = filesystem(folder)
    if isinstance(fs, LocalFileSystem):
        local_disk.sync_folder(name)


@contextmanager
def create(path: str, upload: Upload | None = None, *, sync: bool = True) -> Iterator[OutputFile]:
    """Create a file that appears at `path` only if the block ends without an error.

    Args:
        path: the file.
        upload: uploads the complete file to an object store; by default it replaces the object.
        sync: whether a local file is on disk when the block ends.
    """
    fs, name = filesystem(path)
    folder, base = posixpath.split(name)
    if isinstance(fs, LocalFileSystem):
        local_disk.make_folder(folder)
        temporary = local_disk.temporary_path(folder, base)
        try:
            with open_output(temporary, sync=sync) as output:
                yield output
            os.replace(temporary, name)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)
        return
    with scratch_folder() as scratch:
        temporary = os.path.join(scratch, base)
        with open_output(temporary, sync=False) as output:
            yield output
        if conditional_store(path) is None:  # those stores have no folders
            fs.makedirs(folder, exist_ok=True)
        (upload or fs.put_file)(temporary, name)


def write_json(path: str, value: Any, upload: Upload | None = None) -> None:
    """Write a JSON document durably. An object gets a checksum as its last entry.

    Documents vouch for other files: a receipt for a shard, a manifest for a store. So the files
    beside it are on disk before it appears, and it is on disk when the function returns.
    """
    if isinstance(value, dict) and value:
        pieces = add_checksum(object_pieces(value))
    else:
        pieces = iter([json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"])
    folder = posixpath.dirname(path)
    sync_folder(folder)
    with create(path, upload) as output:
        for piece in pieces:
            output.write(piece)
    sync_folder(folder)


def read_json(path: str, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read a JSON document; None if the file does not exist.

    `mmfeat.store.read_document` reads a document that mmfeat wrote, and checks its content.

    Args:
        path: the file.
        max_bytes: maximum size of the file.

    Raises:
        DamagedFileError: the file is not JSON, it has another checksum, or it is too large or too
            deeply nested.
    """
    try:
        return parse_json(read_bytes(path, max_bytes), path, max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Return a local path of a file, for readers that map memory. Remote files are downloaded."""
    fs, name = filesystem(path)
    if isinstance(fs, LocalFileSystem):
        yield name
        return
    with scratch_folder() as folder:
        copy = os.path.join(folder, posixpath.basename(name))
        with fs.open(name, "rb") as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        yield copy
