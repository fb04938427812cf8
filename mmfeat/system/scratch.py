"""Temporary folders in the folder for temporary files, such as /tmp."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

_PREFIX = "mmfeat-scratch-"
_MIN_AGE = 60.0
"""Seconds before a folder without a lock counts as abandoned: a new one is locked within them."""


@contextmanager
def scratch_folder() -> Iterator[str]:
    """Make a temporary folder and remove it with its content at the end.

    Folders of processes that were killed are removed, once per process. The folder is locked while
    it is in use, and the operating system releases the lock of a dead process.
    """
    _remove_abandoned(tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # the file system has no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


@cache
def _remove_abandoned(parent: str) -> None:
    with os.scandir(parent) as entries:
        found = [entry for entry in entries if entry.name.startswith(_PREFIX)]
    for entry in found:
        with suppress(OSError):  # another process removes it, or it is in use
            status = entry.stat(follow_symlinks=False)
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _MIN_AGE:
                continue
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry.path)
            finally:
                os.close(descriptor)
