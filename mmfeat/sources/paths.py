"""Expand the patterns of an input to the paths of its files."""

import posixpath

import braceexpand
from fsspec.implementations.local import make_path_posix

from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from mmfeat.system import is_url


def expand_pattern(pattern: str) -> list[str]:
    """Return the files that a path or pattern names, in the order of braces, then of names.

    Args:
        pattern: a path, a glob (`*`, `?`, `[…]`, `**`), braces (`part-{000..127}.tar`), or both.

    Raises:
        MmfeatError: a brace is not closed, or a glob matches no file.
    """
    if files.exists(pattern):
        return [pattern]
    try:
        names = list(braceexpand.braceexpand(pattern)) if "{" in pattern else [pattern]
    except ValueError as error:
        raise MmfeatError(f"the braces of a pattern must close: {error}", got=pattern) from error
    paths: list[str] = []
    for name in names:
        paths += _glob(name) if any(c in name for c in "*?[") else [name]
    return paths


def _glob(pattern: str) -> list[str]:
    fs, name = files.filesystem(pattern)
    matches = sorted(str(path) for path in fs.glob(name))
    if not matches:
        raise MmfeatError("no file matches the pattern", got=pattern)
    if not is_url(pattern):
        # fsspec returns absolute local paths; relative patterns should give relative paths.
        current = make_path_posix("")
        relative = not posixpath.isabs(pattern)
        return [posixpath.relpath(path, current) if relative else path for path in matches]
    return [str(fs.unstrip_protocol(path)) for path in matches]
