"""Unfinished work: marks of shards whose process died, and records of shards that failed.

A process that makes a shard by itself cannot report its own death. It leaves a hidden file in the
store, and removes it when the shard is made or has failed. A mark that a later run finds is of a
process that was killed or crashed, perhaps by a record of the shard. Marks are hints: if storage
fails, there is none.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from mmfeat.storage import files, local_disk
from mmfeat.storage.conditional import ObjectChangedError, conditional_store
from mmfeat.storage.documents import SMALL_BYTES, read_intact_document
from mmfeat.storage.many_files import FileSizes
from mmfeat.store.schemas import Failure
from mmfeat.system import filesystem

_PREFIX = ".unfinished-"

_CONTENT = b"unfinished\n"

_FAILED = "_failed.json"

_REMOVALS = 5
"""Tries to remove a mark. One that stays, or comes back after a power cut, only makes the next run
slower."""


@contextmanager
def mark_unfinished(folder: str, name: str) -> Iterator[None]:
    """Mark work as unfinished until the block ends, also with an error.

    Args:
        folder: the store; it exists.
        name: the work, such as the name of a shard.
    """
    leave_mark(folder, name)
    try:
        yield
    finally:
        _remove_mark(folder, _PREFIX + name)


def leave_mark(folder: str, name: str) -> None:
    """Mark work as unfinished for the next run. Arguments as in `mark_unfinished`."""
    fs, path = filesystem(files.join(folder, _PREFIX + name))
    with suppress(OSError):
        fs.pipe_file(path, _CONTENT)


def is_fresh(folder: str, shard: str, sizes: FileSizes, receipts: Sequence[str] = ()) -> bool:
    """Return whether nothing in a store says that anybody has begun to make a shard.

    Args:
        folder: the store.
        shard: name of the shard.
        sizes: sizes of the files of the store.
        receipts: folders of the receipts that are to be written, if it is not the store.
    """
    paths = [files.join(folder, name) for name in (shard + _FAILED, _PREFIX + shard)]
    paths += [files.join(where, f"{shard}_stats.json") for where in receipts or (folder,)]
    return not any(sizes(path) is not None for path in paths)


def start_shard(folder: str, shard: str) -> bool:
    """Mark a shard as unfinished. Return False if it was marked before.

    Then another process makes it, or has died, or has made it: marks of shards that are made stay
    in object stores until `remove_marks`.
    """
    path = files.join(folder, _PREFIX + shard)
    try:
        if store := conditional_store(path):
            store.create(_CONTENT, filesystem(path)[1])
        elif files.exists(path):
            return False
        else:
            leave_mark(folder, shard)
    except ObjectChangedError:
        return False
    except OSError:
        pass
    return True


def end_shard(folder: str, shard: str, *, made: bool) -> None:
    """Remove the mark of a shard, unless it costs a request that is not needed.

    Args:
        folder: the store.
        shard: name of the shard.
        made: whether it has a receipt, so that its mark says nothing any more.
    """
    if not (made and conditional_store(folder)):
        _remove_mark(folder, _PREFIX + shard)


def is_unfinished(folder: str, name: str) -> bool:
    """Return whether the process that did the work has died."""
    return files.exists(files.join(folder, _PREFIX + name))


def has_unfinished(folder: str) -> bool:
    """Return whether a process that did any work in the store has died."""
    with suppress(OSError):
        marks = files.list_names(folder, lambda name: name.startswith(_PREFIX))
        receipts = {f"{mark.removeprefix(_PREFIX)}_stats.json" for mark in marks}
        return bool(receipts) and not receipts <= {*files.list_names(folder, receipts.__contains__)}
    return False


def remove_marks(folder: str) -> None:
    """Remove all marks of a store, and lists of tasks that killed runs have left there."""
    with suppress(OSError):
        is_mark = lambda n: n.startswith(_PREFIX) or local_disk.is_temporary(n)  # noqa: E731
        marks = files.list_names(folder, is_mark)
        files.remove_files([files.join(folder, mark) for mark in marks])


def _remove_mark(folder: str, mark: str) -> None:
    for _ in range(_REMOVALS):
        with suppress(OSError):
            files.remove_file(files.join(folder, mark), sync=False)
            return


def write_failure(folder: str, shard: str, error: str) -> None:
    """Record why a shard failed. The run continues, and the next run makes the shard."""
    path = files.join(folder, shard + _FAILED)
    files.write_json(path, {"shard": shard, "error": error})


def clear_failure(folder: str, shard: str) -> None:
    """Remove the failure record of a shard that was made since."""
    files.remove_file(files.join(folder, shard + _FAILED))


def clear_failures(folder: str) -> None:
    """Remove all failure records of a store, all shards of which were made.

    A shard may have one if its receipt was written, but an error of the disk followed.
    """
    files.remove_files([files.join(folder, name) for name in _list_failures(folder)])


def _list_failures(folder: str) -> list[str]:
    return files.list_names(folder, lambda name: name.endswith(_FAILED))


def read_failures(folder: str) -> dict[str, str]:
    """Return the error of each failed shard: shard → error."""
    failures = {}
    for name in _list_failures(folder):
        record = read_intact_document(files.join(folder, name), Failure, SMALL_BYTES)
        error = record["error"] if record else "its record is damaged"
        failures[name.removesuffix(_FAILED)] = error
    return failures
