"""Suggest an existing path for a mistyped one."""

import posixpath

from mmfeat.errors import suggest
from mmfeat.storage import files


def did_you_mean_path(path: str) -> str:
    """Return `Did you mean 'PATH'?` with a similar name of the same folder; empty if none is.

    Args:
        path: a path that does not exist. Object stores are not listed.
    """
    if not files.is_local(path):
        return ""
    folder, name = posixpath.split(path.rstrip("/"))
    close = suggest(name, files.list_names(folder or "."))
    return f"Did you mean {files.join(folder, close)!r}?" if close else ""
