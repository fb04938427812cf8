"""Temporary files that killed runs leave in local folders."""

import fcntl
import os
from contextlib import suppress

from mmfeat.storage import files, local_disk


def try_lock(descriptor: int) -> bool:
    """Lock an open folder; return False if its file system has no locks.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def remove_temporaries(folder: str) -> None:
    """Remove the temporary files of killed runs from a local folder and its subfolders.

    Call it while the folder is locked. Folders below it that another run has locked are left alone.
    """
    if files.is_local(folder):
        _sweep(files.filesystem(folder)[1])


def _sweep(folder: str) -> None:
    with suppress(FileNotFoundError, PermissionError):
        with os.scandir(folder) as entries:  # there may be millions
            found = [e for e in entries if local_disk.is_temporary(e.name) or _is_folder(e)]
        for entry in found:
            if _is_folder(entry):
                _sweep_subfolder(entry.path)
            else:
                os.remove(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _sweep_subfolder(folder: str) -> None:
    with suppress(BlockingIOError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            try_lock(descriptor)
            _sweep(folder)
        finally:
            os.close(descriptor)
