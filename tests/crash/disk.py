"""A model of a local disk: what is left of a folder after a power cut.

POSIX promises little. A new name, a rename or a removal is on disk once its folder was synced;
until then, any subset of these changes may survive, in any order. The content of a file is on disk
once the file was synced; until then, any part of it may be missing.
"""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Tree: TypeAlias = dict[str, bytes | None]
"""Path → content of a file, or None for a folder."""

Kind: TypeAlias = Literal[
    "create",
    "write",
    "sync_file",
    "rename",
    "remove",
    "make_folder",
    "remove_folder",
    "sync_folder",
]

_NAME_CHANGES = frozenset({"create", "rename", "remove", "make_folder", "remove_folder"})


@dataclass(frozen=True)
class Operation:
    """One call that changes a disk.

    Attributes:
        kind: what it does.
        path: the file or folder, relative to the root.
        file: number of the file; it stays the same when the file gets another name.
        content: all bytes of the file, for `write` and `sync_file`.
        target: the new name, for `rename`.
    """

    kind: Kind
    path: str
    file: int = 0
    content: bytes = b""
    target: str = ""


def tree_after_crash(
    before: Mapping[str, bytes | None],
    operations: Sequence[Operation],
    survives: Callable[[int], bool],
    damage: Callable[[bytes], bytes],
) -> Tree:
    """Return what is left after a power cut that follows the operations.

    Args:
        before: what was on disk before them.
        operations: in the order of the calls.
        survives: whether the change of names with this number is on disk, if its folder was not
            synced since.
        damage: what is left of the content of a file that was not synced since it was written.
    """
    names: dict[str, int | None] = {}
    contents: dict[int, bytes] = {}
    for number, (path, content) in enumerate(before.items()):
        names[path] = None if content is None else -1 - number
        contents[-1 - number] = content or b""
    synced = _last_syncs(operations)
    for number, operation in enumerate(operations):
        if operation.kind == "write":
            contents[operation.file] = damage(operation.content)
        elif operation.kind == "sync_file":
            contents[operation.file] = operation.content
        elif operation.kind in _NAME_CHANGES:
            folder = posixpath.dirname(operation.path)
            if synced.get(folder, -1) > number or survives(number):
                _change_names(names, operation)
    return {
        path: None if file is None else contents.get(file, b"")
        for path, file in sorted(names.items())
        if all(names.get(parent, ...) is None for parent in _parents(path))
    }


def _last_syncs(operations: Sequence[Operation]) -> dict[str, int]:
    """Return the number of the last sync of each folder."""
    return {op.path: number for number, op in enumerate(operations) if op.kind == "sync_folder"}


def _change_names(names: dict[str, int | None], operation: Operation) -> None:
    path = operation.path
    if operation.kind == "create":
        names[path] = operation.file
    elif operation.kind == "make_folder":
        names[path] = None
    elif operation.kind == "rename":
        names.pop(path, None)
        names[operation.target] = operation.file
    else:
        names.pop(path, None)
        for child in [name for name in names if name.startswith(f"{path}/")]:
            del names[child]


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]
