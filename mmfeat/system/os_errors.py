"""Say what failed when the operating system refuses something, and what to do about it."""

import errno
import os

from mmfeat.errors import MmfeatError

_NO_SPACE = "Free some space there, or name another path"
_WRONG_PATH = "Check the path"
_MANY_FILES = "Raise the limit with `ulimit -n`, or use fewer processes and threads"
_NETWORK = "Check the network and the server"
_CURES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "Raise the limit with `ulimit -f`, or name a path on another file system",
    errno.EROFS: "Name a path that can be written",
    errno.EACCES: "Change the permissions of the path, or name another path",
    errno.EPERM: "Change the permissions of the path, or name another path",
    errno.ENOENT: _WRONG_PATH,
    errno.ENOTDIR: "Name a directory, not a file",
    errno.EEXIST: "Name a path that does not exist yet",
    errno.EISDIR: "Name a file, not a directory",
    errno.ENAMETOOLONG: "Use shorter names",
    errno.ELOOP: "Remove the links that point at each other",
    errno.EMFILE: _MANY_FILES,
    errno.ENFILE: _MANY_FILES,
    errno.ENOMEM: "Use fewer processes and threads, or a machine with more memory",
    errno.EPIPE: "The program that reads the output, or a server, has closed the connection",
    errno.ETIMEDOUT: _NETWORK,
    errno.ECONNREFUSED: _NETWORK,
    errno.ECONNRESET: _NETWORK,
    errno.ECONNABORTED: _NETWORK,
    errno.ENETUNREACH: _NETWORK,
    errno.EHOSTUNREACH: _NETWORK,
}
"""Number of an error → what to do."""

_NUMBERS: dict[type[OSError], int] = {
    FileNotFoundError: errno.ENOENT,
    PermissionError: errno.EACCES,
    IsADirectoryError: errno.EISDIR,
    NotADirectoryError: errno.ENOTDIR,
    FileExistsError: errno.EEXIST,
    BrokenPipeError: errno.EPIPE,
    TimeoutError: errno.ETIMEDOUT,
    ConnectionRefusedError: errno.ECONNREFUSED,
    ConnectionError: errno.ECONNRESET,
}
"""Class → number. Errors of libraries, such as fsspec, have no number of their own."""


_STORAGE_LIBRARIES = frozenset({"aiobotocore", "aiohttp", "botocore", "gcsfs"})
"""Packages of object stores, whose errors are no `OSError`."""


def is_storage_error(error: BaseException) -> bool:
    """Return whether files or storage have failed: the system, the network or a server."""
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or package in _STORAGE_LIBRARIES


def explain_storage_error(error: BaseException) -> MmfeatError:
    """Return an error with what failed and the cure, for an error as in `is_storage_error`."""
    if isinstance(error, OSError):
        return explain_os_error(error)
    return MmfeatError(f"{type(error).__name__}: {error}", cure=_NETWORK)


def explain_os_error(error: OSError) -> MmfeatError:
    """Return an error with what failed, the path, and the cure for this kind of failure, if any."""
    number = error.errno
    if number not in errno.errorcode:
        number = next((n for kind, n in _NUMBERS.items() if isinstance(error, kind)), None)
    text = " ".join(str(error).split())
    if error.strerror:
        names = (error.filename, error.filename2)
        paths = [os.fsdecode(name) for name in names if isinstance(name, str | bytes)]
        text = ": ".join([error.strerror, " → ".join(paths)] if paths else [error.strerror])
    elif number is not None:
        text = f"{os.strerror(number)}: {text}" if text else os.strerror(number)
    return MmfeatError(text or type(error).__name__, cure=_CURES.get(number or 0, ""))
