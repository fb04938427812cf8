"""Many files at once: their sizes, without a request for each."""

import os
import posixpath
import stat
from collections.abc import Callable
from functools import partial
from threading import Lock

from mmfeat.storage import files
from mmfeat.storage.conditional import list_sizes


class FileSizes:
    """The sizes of files: `sizes(path)` is the size in bytes, or None if there is no such file.

    A folder of remote storage is listed once, when its first file is asked for. Later changes are
    not seen.
    """

    def __init__(self) -> None:
        self._folders: dict[str, Callable[[str], int | None]] = {}
        self._lock = Lock()

    def __call__(self, path: str) -> int | None:
        """Return the size of a file."""
        folder, name = posixpath.split(path)
        find_size = self._folders.get(folder)
        if find_size is None:
            with self._lock:
                find_size = self._folders.get(folder) or _open_folder(folder)
                self._folders[folder] = find_size
        return find_size(name)


def _open_folder(folder: str) -> Callable[[str], int | None]:
    if files.is_local(folder):
        return partial(_local_size, files.filesystem(folder)[1])
    return list_sizes(folder).get


def _local_size(folder: str, name: str) -> int | None:
    try:
        status = os.stat(f"{folder}/{name}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
