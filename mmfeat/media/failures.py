"""Tell failures that can pass from permanent ones: the reason of a file that cannot be read."""

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from urllib3 import exceptions as urllib3_errors

from mmfeat.errors import MmfeatError
from mmfeat.records import PASSING_REASON

MISSING_STATUSES = frozenset([404, 410])
PASSING_STATUSES = frozenset([408, 425, 429, *range(500, 600)])
"""HTTP: request timeout, too early, too many requests, and errors of the server."""

_PASSING_ERRNOS = frozenset(
    getattr(errno, name)
    for name in (
        "EAGAIN", "EBUSY", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN",
        "EHOSTUNREACH", "EINTR", "EIO", "EMFILE", "ENETDOWN", "ENETRESET", "ENETUNREACH", "ENFILE",
        "ENOBUFS", "ENOLINK", "ENOMEM", "ENOTCONN", "EPIPE", "EREMOTEIO", "ESHUTDOWN", "ESTALE",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""Errors of networks, of file servers and of a busy machine."""

_PERMANENT_ERRNOS = frozenset(
    [errno.EACCES, errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTSUP, errno.EPERM]
)

# The first list takes precedence: some errors are in both.
_PASSING_ERRORS = (
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    urllib3_errors.TimeoutError,
    urllib3_errors.NewConnectionError,
    urllib3_errors.ProtocolError,
    urllib3_errors.ProxyError,
)
_PERMANENT_ERRORS = (
    ssl.SSLCertVerificationError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    ImportError,
    LookupError,
    MmfeatError,
    NotImplementedError,
    TypeError,
    ValueError,
    urllib3_errors.HTTPError,
)


def failure_reason(error: BaseException, *, remote: bool) -> str:
    """Return why a file could not be read: `not_found`, `unavailable` or `unreadable`.

    `unavailable` can pass, the others are permanent. Libraries of remote storage raise errors of
    their own: if nothing else is known about such an error, it can pass.

    Args:
        error: the error.
        remote: whether the file is on a server.
    """
    if isinstance(error, FileNotFoundError):
        return "not_found"
    status = next((s for cause in _causes(error) if (s := _http_status(cause))), None)
    if status is not None:
        return status_reason(status)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return "unreadable"
    if isinstance(error, _PASSING_ERRORS):
        return PASSING_REASON
    if isinstance(error, _PERMANENT_ERRORS):
        return "unreadable"
    number = error.errno if isinstance(error, OSError) else None
    can_pass = number not in _PERMANENT_ERRNOS if remote else number in _PASSING_ERRNOS
    return PASSING_REASON if can_pass else "unreadable"


def status_reason(status: int) -> str:
    """Return the reason for an HTTP status that is an error."""
    if status in MISSING_STATUSES:
        return "not_found"
    return PASSING_REASON if status in PASSING_STATUSES else "unreadable"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that it wraps."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        reason = getattr(error, "reason", None)  # of urllib3
        inner = [value for value in (reason, *error.args) if isinstance(value, BaseException)]
        error = error.__cause__ or (inner[0] if inner else None)


def _http_status(error: BaseException) -> int | None:
    """Return the HTTP status that an error of a storage library has, in any of the usual places."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):  # of botocore
        response = response.get("ResponseMetadata")
    places = [getattr(error, name, None) for name in ("status", "status_code", "code")]
    if isinstance(response, dict):
        places.append(response.get("HTTPStatusCode"))
    else:
        places.append(getattr(response, "status_code", None))
    return next((s for s in places if isinstance(s, int) and 400 <= s < 600), None)
