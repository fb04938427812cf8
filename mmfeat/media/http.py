"""URLs to bytes, within bounds: the one place where files of strangers are downloaded.

urllib3 does the work: connections kept per host, retries, redirects, decoding. What is added is
what a stranger's server may do that urllib3 allows: send more than memory holds, in a reply or in
the page that comes with a redirect or a 503; send a byte now and then, so that no single read ever
times out; ask for a pause of hours.
"""

import functools
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, Self

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    HTTPError,
    InvalidHeader,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    ResponseError,
    TimeoutError,
)
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry, Timeout

from mmfeat import __version__
from mmfeat.errors import RecordError

GONE = frozenset([404, 410])
RETRIED = frozenset([429, 500, 502, 503, 504])
MAX_REDIRECTS = 5
MAX_PAUSE = 60.0
"""Seconds waited before a retry at most, whatever Retry-After says."""
HOSTS = 128
"""Hosts whose connections are kept; beyond that the host longest unused is forgotten."""
_BLOCK = 64 * 1024


class HttpReader:
    """Reads URLs; one for all threads of a process, and it can be pickled.

    Args:
        max_bytes: a longer body is not read, decoded or not.
        per_host: connections to one host at once; further threads wait for theirs.
        timeout: seconds to connect, and seconds between two reads.
        retries: how often a URL is tried again after a broken connection, a body cut off or one
            of `RETRIED`; redirects are counted apart.
        backoff: seconds before the first retry; they double with each, up to `MAX_PAUSE`. A
            Retry-After of the server, up to the same bound, goes before.
        deadline: seconds a URL may take in all, counted from its first connection; ten timeouts
            where not given.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        per_host: int = 16,
        timeout: float = 30.0,
        retries: int = 3,
        backoff: float = 0.5,
        deadline: float | None = None,
    ) -> None:
        self.max_bytes, self.per_host, self.timeout = max_bytes, per_host, timeout
        self.retries, self.backoff = retries, backoff
        self.deadline = 10 * timeout if deadline is None else deadline
        self._pool: PoolManager | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Callable[[], "HttpReader"], tuple[()]]:
        # Connections and locks stay behind: the copy opens its own.
        settings = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return functools.partial(type(self), **settings), ()

    def read(self, url: str) -> bytes:
        """The body behind a URL, whole.

        Raises:
            RecordError: `not_found` for 404 and 410; `too_large`; `empty` for no bytes;
                `unreadable` for all else: another status, no connection, a body cut off, a URL
                that is none, too many redirects, no end within the deadline.
        """
        attempt = _Attempt(self.retries, self.deadline)
        try:
            if not url.lower().startswith(("http://", "https://")):
                raise ValueError("not an http or https URL")
            with attempt:
                return self._read(url, attempt)
        except RecordError as error:
            raise RecordError(error.reason, f"{_short(url)}: {error.detail}") from None
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            seen = _described(error)
            if attempt.expired:
                seen = f"not finished within {self.deadline:g} s"
            raise RecordError("unreadable", f"{_short(url)}: {seen}{attempt.after}") from error

    def _read(self, url: str, attempt: "_Attempt") -> bytes:
        retries: Retry = _Retries(
            attempt=attempt,
            total=None,
            redirect=MAX_REDIRECTS,
            status_forcelist=RETRIED,
            raise_on_status=False,
            backoff_factor=self.backoff,
        )
        while True:
            response = self._connections().request(
                "GET", url, retries=retries, redirect=True, preload_content=False,
                timeout=Timeout(connect=self.timeout, read=self.timeout),
            )  # fmt: skip
            try:
                return self._body(response, attempt)
            except (ProtocolError, ReadTimeoutError) as error:
                # urllib3 retries up to the headers; for a body cut off we ask its count ourselves.
                retries = (response.retries or retries).increment("GET", url, error=error)
            finally:
                _drop(response)
            retries.sleep()

    def _body(self, response: BaseHTTPResponse, attempt: "_Attempt") -> bytes:
        if response.status in GONE:
            raise RecordError("not_found", f"HTTP {response.status}{attempt.after}")
        if response.status >= 300:
            raise RecordError("unreadable", f"HTTP {response.status}{attempt.after}")
        promised = getattr(response, "length_remaining", None)
        if promised is not None and promised > self.max_bytes:
            raise RecordError("too_large", f"{promised} bytes; at most {self.max_bytes} are read")
        body = bytearray()
        while block := response.read1(_BLOCK, decode_content=True):
            body += block
            if len(body) > self.max_bytes:
                raise RecordError("too_large", f"more than {self.max_bytes} bytes")
        if attempt.expired:  # a body without a length ends where the connection is cut
            raise ProtocolError("cut off at the deadline")
        if not body:
            raise RecordError("empty", "no bytes")
        return bytes(body)

    def _connections(self) -> PoolManager:
        with self._lock:
            if self._pool is None:
                self._pool = PoolManager(
                    num_pools=HOSTS,
                    maxsize=self.per_host,
                    block=True,
                    headers={
                        "User-Agent": f"mmfeat/{__version__}",
                        "Accept": "*/*",
                        "Accept-Encoding": "identity",
                    },
                )
                self._pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
            return self._pool


class _Attempt:
    """One URL being read: how often it was retried, and a clock that cuts its connection.

    urllib3's timeouts are for single reads of the socket, and http.client reads the headers, the
    chunks' lengths and the pages of errors until they end; only from another thread can that be
    stopped at a given time.
    """

    def __init__(self, retries: int, deadline: float) -> None:
        self.retries, self.retried = retries, 0
        self.expired = False
        self._deadline = deadline
        self._ends: float | None = None
        self._timer: threading.Timer | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        _here.attempt = self
        return self

    def __exit__(self, *error: object) -> None:
        _here.attempt = None
        if self._timer is not None:
            self._timer.cancel()

    @property
    def after(self) -> str:
        """The end of a sentence about what went wrong."""
        if not self.retried:
            return ""
        return f" after {self.retried} {'retry' if self.retried == 1 else 'retries'}"

    @property
    def remaining(self) -> float:
        """Seconds left; all of them as long as nothing is connected."""
        return self._deadline if self._ends is None else max(0.0, self._ends - time.monotonic())

    def watch(self, connected: socket.socket) -> None:
        """From now on this is the connection to cut; the first one starts the clock."""
        self._socket = connected
        if self._timer is None:
            self._ends = time.monotonic() + self._deadline
            self._timer = threading.Timer(self._deadline, self._expire)
            self._timer.daemon = True
            self._timer.start()
        elif self.expired:
            self._cut()

    def _expire(self) -> None:
        self.expired = True
        self._cut()

    def _cut(self) -> None:
        try:
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is closed already


class _Here(threading.local):
    attempt: _Attempt | None = None


_here = _Here()
"""What this thread reads: urllib3 tells a connection nothing of the request's `retries`."""


class _Retries(Retry):
    """Retries that are counted apart from redirects and over all hops, and that end in time."""

    def __init__(self, *, attempt: _Attempt, **options: Any) -> None:
        super().__init__(**options)
        self.attempt = attempt

    def new(self, **changes: Any) -> Self:
        return super().new(attempt=self.attempt, **changes)

    @property
    def _redirected(self) -> bool:
        return self.history[-1].redirect_location is not None

    def is_exhausted(self) -> bool:
        spent = not self._redirected and self.attempt.retried >= self.attempt.retries
        return spent or self.attempt.expired or super().is_exhausted()

    def increment(self, *args: Any, **options: Any) -> Self:
        made = super().increment(*args, **options)
        self.attempt.retried += not made._redirected
        return made

    def get_backoff_time(self) -> float:
        pause: float = self.backoff_factor * 2 ** (self.attempt.retried - 1)
        return min(pause, MAX_PAUSE, self.attempt.remaining)

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        try:
            pause = super().get_retry_after(response)
        except (InvalidHeader, ValueError, OverflowError):
            return None
        return None if pause is None else min(pause, MAX_PAUSE, self.attempt.remaining)


class _Watched(HTTPConnection):
    """A connection whose socket the reading attempt may cut."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        if _here.attempt is not None and self.sock is not None:
            _here.attempt.watch(self.sock)
        response = super().getresponse()
        # Before a retry or a redirect urllib3 reads the rest of the reply, however long it is, to
        # use the connection again; a new connection costs less than a reply without an end.
        response.drain_conn = functools.partial(_drop, response)  # type: ignore[method-assign]
        return response


class _WatchedTls(_Watched, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


def _drop(response: BaseHTTPResponse) -> None:
    """Gives the connection's place back; the connection is closed unless it was read to the end."""
    response.close()
    response.release_conn()


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."


def _described(error: Exception) -> str:
    if isinstance(error, MaxRetryError) and error.reason is not None:
        error = error.reason
    if isinstance(error, TimeoutError) and not isinstance(error, NewConnectionError):
        return "timed out"
    if isinstance(error, ProtocolError) and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    if isinstance(error, ResponseError):
        return str(error)
    return _short(f"{type(error).__name__}: {str(error).rpartition('): ')[2]}")
