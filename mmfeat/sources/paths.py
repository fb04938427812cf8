"""Paths of an input: patterns to files, and relative paths to complete ones within bounds."""

import posixpath

import braceexpand
import fsspec

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.store import files


def expand(pattern: str) -> list[str]:
    """The files a path or pattern names, in the order of braces and then of names.

    Args:
        pattern: a path, a glob (`*`, `?`, `[…]`, `**`), braces (`part-{000..127}.tar`), or braces
            and globs together.

    Raises:
        MmfeatError: braces that do not close, or a glob that nothing matches.
    """
    if files.exists(pattern):
        return [pattern]
    try:
        names = list(braceexpand.braceexpand(pattern)) if "{" in pattern else [pattern]
    except ValueError as error:
        raise MmfeatError(f"the braces of a pattern must close: {error}", got=pattern) from error
    paths: list[str] = []
    for name in names:
        paths += _matches(name) if any(c in name for c in "*?[") else [name]
    return paths


def _matches(pattern: str) -> list[str]:
    fs, name = files.filesystem(pattern)
    found = sorted(str(path) for path in fs.glob(name))
    if not found:
        raise MmfeatError("no file matches the pattern", got=pattern)
    if "://" not in pattern:
        # fsspec makes local paths absolute; keep what the user would have typed.
        here = fsspec.implementations.local.make_path_posix("")
        relative = not posixpath.isabs(pattern)
        return [posixpath.relpath(path, here) if relative else path for path in found]
    return [str(fs.unstrip_protocol(path)) for path in found]


def complete(root: str, path: str, *, allow_outside: bool) -> str:
    """Where a path of a record leads: URLs and absolute paths as they are, others from the root.

    Raises:
        RecordError: `outside`, where a relative path leaves the root and may not.
    """
    if "://" in path or path.startswith("/"):
        return path
    if ".." in path:
        path = posixpath.normpath(path)
        if not allow_outside and (path == ".." or path.startswith("../")):
            raise RecordError("outside", f"{path} leaves {root}; --allow-outside permits it")
    return files.join(root, path)
