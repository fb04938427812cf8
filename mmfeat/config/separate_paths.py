"""Check that a command does not write into its input, nor read from its output."""

import os
import posixpath
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from braceexpand import braceexpand
from fsspec.implementations.local import LocalFileSystem

from mmfeat.errors import MmfeatError
from mmfeat.system import filesystem, protocols


def check_separate(output: str, inputs: Mapping[str, str], name_of_output: str = "OUTPUT") -> None:
    """Check that the output is not one of the inputs, in one of them or around one of them.

    Args:
        output: the output directory; empty = none.
        inputs: name of an argument → its path or pattern.
        name_of_output: the argument of the output.

    Raises:
        MmfeatError: the output overlaps an input.
    """
    for name, path in inputs.items() if output else ():
        if contains(path, output) or contains(output, path) or _pattern_reaches(path, output):
            raise MmfeatError(
                f"{name_of_output} must lie apart from {name} {path}, since a run must not change "
                "its input",
                got=output,
                cure="Name another output directory",
            )


def contains(outer: str, inner: str) -> bool:
    """Return whether `inner` is `outer` or below it, by whatever links, case or spelling."""
    if protocols(outer) != protocols(inner):
        return False
    (outer_fs, outer_name), (inner_fs, inner_name) = filesystem(outer), filesystem(inner)
    if isinstance(outer_fs, LocalFileSystem):
        return _contains_local(outer_name, inner_name)
    # In an object store, `a/../b` is a name of its own. Elsewhere, it is `b`.
    spellings = ((outer_name, inner_name), tuple(map(posixpath.normpath, (outer_name, inner_name))))
    return bool(outer_fs == inner_fs) and any(_is_parent(*names) for names in spellings)


def _contains_local(outer: str, inner: str) -> bool:
    outer, inner = os.path.realpath(outer), os.path.realpath(inner)
    if _is_parent(outer, inner):
        return True
    if not os.path.exists(outer):
        return False
    # Names differ if the disk ignores case, or is mounted twice.
    parents = [inner, *map(str, PurePosixPath(inner).parents)]
    return any(os.path.exists(path) and os.path.samefile(path, outer) for path in parents)


def _is_parent(outer: str, inner: str) -> bool:
    outer_parts, inner_parts = PurePosixPath(outer).parts, PurePosixPath(inner).parts
    return inner_parts[: len(outer_parts)] == outer_parts


def _pattern_reaches(pattern: str, output: str) -> bool:
    """Return whether a glob finds the output or its files, once there are some."""
    if not any(sign in pattern for sign in "*?[") or protocols(pattern) != protocols(output):
        return False
    try:
        globs = list(braceexpand(pattern))
    except ValueError:
        return False  # refused when the input is opened
    folder = PurePosixPath(filesystem(output)[1]).parts
    return any(_glob_reaches(PurePosixPath(filesystem(g)[1]).parts, folder) for g in globs)


def _glob_reaches(glob: Sequence[str], folder: Sequence[str]) -> bool:
    for part, name in zip(glob, folder, strict=False):
        if part == "**":
            return True
        if not fnmatchcase(name, part):
            return False
    return len(folder) <= len(glob)
