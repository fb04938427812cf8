"""The sizes of many files, without a request for each."""

import posixpath
from threading import Lock

from mmfeat.storage import files
from mmfeat.storage.conditional import list_sizes


class FileSizes:
    """The sizes of files: `sizes(path)` is the size in bytes, or None if there is no such file.

    A folder of remote storage is listed once, when its first file is asked for. Later changes are
    not seen.
    """

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, int]] = {}
        self._lock = Lock()

    def __call__(self, path: str) -> int | None:
        """Return the size of a file."""
        if files.is_local(path):
            return files.size(path)
        folder, name = posixpath.split(path)
        with self._lock:
            if folder not in self._folders:
                self._folders[folder] = list_sizes(folder)
        return self._folders[folder].get(name)
