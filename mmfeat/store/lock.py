"""The lock of an output directory: one run at a time works in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmfeat.errors import MmfeatError
from mmfeat.store import files, local_disk
from mmfeat.store.temporaries import remove_temporaries, try_lock


@contextmanager
def lock_directory(folder: str) -> Iterator[None]:
    """Lock a local directory against other runs on this machine.

    The operating system releases the lock when the process ends, even if it is killed. Temporary
    files of killed runs are removed.

    Raises:
        MmfeatError: another run holds the lock, or the directory is a file.
    """
    if not files.is_local(folder):
        yield
        return
    path = files.filesystem(folder)[1]
    try:
        new_folders = local_disk.make_folder(path)
    except (FileExistsError, NotADirectoryError) as error:
        parents = [path, *map(str, Path(path).parents)]
        file = next((parent for parent in parents if os.path.lexists(parent)), path)
        raise MmfeatError(
            f"the output must be a directory, and {file} is a file",
            got=folder,
            cure="Name another output directory",
        ) from error
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            locked = try_lock(descriptor)
        except BlockingIOError:
            raise MmfeatError(
                f"only one run at a time may write to {folder}, and another run is active",
                cure="Wait until it ends, then run the same command again",
            ) from None
        if locked:
            remove_temporaries(folder)
        yield
    finally:
        os.close(descriptor)
        with suppress(OSError):  # a directory is not empty
            for new_folder in new_folders:
                os.rmdir(new_folder)
