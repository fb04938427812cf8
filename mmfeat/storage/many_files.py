"""Many files at once: their sizes without a request for each, and fast writes of small ones."""

import posixpath
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock

from mmfeat.storage import files, local_disk
from mmfeat.storage.conditional import list_sizes

_UPLOADS = 16
_WAITING = 4 * _UPLOADS


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


@contextmanager
def write_many() -> Iterator[Callable[[str, bytes], None]]:
    """Write files that are complete and on disk when the block ends without an error.

    Local files are synced at the end: the first sync writes the others too. Remote files are
    uploaded in threads.

    Yields:
        A function that writes a file: path and content.
    """
    local: list[str] = []
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(_UPLOADS) as pool:

        def write(path: str, content: bytes) -> None:
            if files.is_local(path):
                _write(path, content, sync=False)
                local.append(path)
                return
            if len(waiting) == _WAITING:
                waiting.popleft().result()
            waiting.append(pool.submit(_write, path, content))

        yield write
        while waiting:
            waiting.popleft().result()
    for path in local:
        local_disk.sync_file(path)


def _write(path: str, content: bytes, *, sync: bool = True) -> None:
    with files.create(path, sync=sync) as output:
        output.write(content)
