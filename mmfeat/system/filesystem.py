"""Tell local paths from URLs, and find their file systems. All packages use these functions."""

import os
import re

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mmfeat.errors import MmfeatError

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*::)*([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
"""`PROTOCOL://`, after any chain of fsspec's wrappers, as in `simplecache::s3://`."""

_LOCAL = LocalFileSystem()
"""It has no state, and finding it in the cache of fsspec takes longer than opening a file."""

_ALIASES = {"local": "file", "gcs": "gs", "s3a": "s3"}
"""Second names of protocols."""


def is_url(path: str) -> bool:
    """Return whether a path is a URL. `http/a.png` and `run::2/a.png` are local paths."""
    return bool(_URL.match(path))


def is_http(path: str) -> bool:
    """Return whether a path is an HTTP or HTTPS URL."""
    return _lower_protocol(path).startswith(("http://", "https://"))


def protocols(path: str) -> tuple[str, ...]:
    """Return the protocols of a path, in lower case: `zip://a::S3://b/c.zip` has zip and s3.

    Local paths have the protocol file. Each protocol has one name, such as gs for `gcs://`.
    """
    if is_http(path):
        return (path.partition(":")[0].lower(),)
    if not is_url(path):
        return ("file",)
    return tuple(canonical_protocol(_protocol_of_link(link)) for link in path.split("::"))


def canonical_protocol(name: str) -> str:
    """Return the one name of a protocol, in lower case: gs for gcs."""
    return _ALIASES.get(name.lower(), name.lower())


def _protocol_of_link(link: str) -> str:
    """Return the protocol of a link of a chain, which fsspec takes for a local path if unknown."""
    protocol, separator, _ = link.partition("://")
    if separator or link.lower() in fsspec.available_protocols():
        return protocol
    return "file"


def filesystem(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a path, and the path without its protocol.

    Raises:
        MmfeatError: the protocol is unknown, or its package is not installed.
    """
    path = os.fspath(path)
    if path.startswith("/") and not path.endswith("/"):
        return _LOCAL, path
    if not is_url(path):
        # fsspec would take `::` in a local path for one of its wrappers, and `file:` for no name.
        local = path if not path.startswith(("file:", "local:")) else f"./{path}"
        return _LOCAL, LocalFileSystem._strip_protocol(local)
    try:
        return fsspec.core.url_to_fs(_lower_protocol(path))
    except (ValueError, ImportError) as error:
        raise MmfeatError(
            f"cannot open {path}: {error}",
            cure="Install the fsspec package of the protocol (gcsfs, s3fs, …) or use a local path",
        ) from error


def _lower_protocol(path: str) -> str:
    """Return a URL with its protocol in lower case, the only form that fsspec knows."""
    match = _URL.match(path)
    return match[0].lower() + path[match.end() :] if match else path
