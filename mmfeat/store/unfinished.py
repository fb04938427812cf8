"""Marks of unfinished work: which shards were being made when their process died.

A process that makes a shard by itself cannot report its own death. It leaves a hidden file in the
store, and removes it when the shard is made or has failed. A mark that a later run finds is of a
process that was killed or crashed, perhaps by a record of the shard. Marks are hints: if storage
fails, there is none.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mmfeat.storage import files
from mmfeat.system import filesystem

_PREFIX = ".unfinished-"

_REMOVALS = 5
"""Tries to remove a mark. One that stays only makes the next run slower."""


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
        fs.pipe_file(path, b"unfinished\n")


def is_unfinished(folder: str, name: str) -> bool:
    """Return whether the process that did the work has died."""
    return files.exists(files.join(folder, _PREFIX + name))


def has_unfinished(folder: str) -> bool:
    """Return whether a process that did any work in the store has died."""
    return bool(_list_marks(folder))


def remove_marks(folder: str) -> None:
    """Remove all marks of a store."""
    for mark in _list_marks(folder):
        _remove_mark(folder, mark)


def _list_marks(folder: str) -> list[str]:
    with suppress(OSError):
        return [name for name in files.list_names(folder) if name.startswith(_PREFIX)]
    return []


def _remove_mark(folder: str, mark: str) -> None:
    for _ in range(_REMOVALS):
        with suppress(OSError):
            files.remove(files.join(folder, mark))
            return
