"""The lock of an output directory: one run at a time works in it.

Object stores have no locks. There, runs claim what they write; see `mmfeat.storage.claim`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmfeat.errors import MmfeatError
from mmfeat.storage import files, local_disk
from mmfeat.storage.conditional import ObjectChangedError, conditional_store, expect_version
from mmfeat.storage.temporaries import remove_temporaries, try_lock
from mmfeat.system import print_err


@contextmanager
def lock_directory(folder: str) -> Iterator[None]:
    """Lock a local directory against other runs on this machine.

    The operating system releases the lock when the process ends, even if it is killed. Temporary
    files of killed runs are removed. Object stores are not locked; a warning says which of them
    cannot keep two runs apart.

    Raises:
        MmfeatError: another run holds the lock, or the directory is a file.
    """
    if not files.is_local(folder):
        _warn_if_unprotected(folder)
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


def _warn_if_unprotected(folder: str) -> None:
    protocol = files.filesystem(folder)[0].unstrip_protocol("").partition(":")[0]
    if protocol != "memory" and conditional_store(folder) is None:
        print_err(
            f"mmfeat: warning: {protocol}:// has no conditional writes that mmfeat knows, so start "
            f"one run at a time in {folder}"
        )


@contextmanager
def claim_planning(folder: str, config_hash: str) -> Iterator[None]:
    """Claim a folder of an object store while a run plans, until it has opened the folder.

    Local directories are locked already. A claim of the same configuration is shared.

    Raises:
        MmfeatError: a run with another configuration plans.
    """
    path = files.join(folder, ".planning.json")
    if not (store := conditional_store(path)):
        yield
        return
    try:
        files.write_json(path, {"config_hash": config_hash}, expect_version(store, None))
    except ObjectChangedError as error:
        claim = files.read_json(path) or {}
        if claim.get("config_hash", config_hash) != config_hash:
            raise MmfeatError(
                f"one configuration at a time may plan in {folder}, and another run is active",
                cure=f"Wait until it ends; if it was killed, remove {path}",
            ) from error
    try:
        yield
    finally:
        files.remove(path)
