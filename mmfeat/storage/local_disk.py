"""Changes to local folders that survive a power cut, and names of temporary files.

A new, renamed or removed file is on disk only after its folder was synced. Until then a power cut
may undo the change, or keep it and undo an earlier one.
"""

import errno
import os
import posixpath
import uuid
from pathlib import Path

_TEMPORARY = ".tmp-"

_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.ENOENT})
"""Errors of file systems that cannot sync a folder, and of folders that this user cannot open."""


def sync_folder(path: str) -> None:
    """Wait until all changes to the names in a folder are on disk.

    File systems that cannot sync a folder are left alone.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def sync_file(path: str) -> None:
    """Wait until the content of a file is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: str) -> list[str]:
    """Make a folder and its parents, durably. Return those that are new, the innermost first."""
    if os.path.isdir(path):
        return []
    parents = [path, *map(str, Path(path).parents)]
    new_folders = [parent for parent in parents if not os.path.lexists(parent)]
    os.makedirs(path, exist_ok=True)
    for folder in new_folders:
        sync_folder(os.path.dirname(folder) or ".")
    return new_folders


def temporary_path(folder: str, name: str) -> str:
    """Return the path of a new file that the next run removes from the folder."""
    return posixpath.join(folder, f".{name}{_TEMPORARY}{uuid.uuid4().hex}")


def is_temporary(name: str) -> bool:
    """Return whether a file name is that of an unfinished local file."""
    return name.startswith(".") and _TEMPORARY in name
