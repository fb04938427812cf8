"""The limits of one download: a deadline that cuts its connection, a retry count, and addresses.

urllib3's timeouts apply to single reads, and http.client reads headers, chunk lengths and error
pages until they end. Only another thread can stop that at a given time.

Each connection, also one of a redirect, is made to an address that was checked, not to a name.
"""

import functools
import socket
import string
import threading
import time
from contextlib import suppress
from typing import Any, Self
from urllib.parse import quote

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    InvalidHeader,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry
from urllib3.util.connection import allowed_gai_family

from mmfeat.media.http.addresses import resolve_host

MAX_PAUSE = 60.0
"""Maximum seconds before a retry. If Retry-After asks for more, there is no retry in this run."""


class Download:
    """State of one download. As a context manager, it is the download of the current thread.

    Args:
        retries: maximum number of retries.
        deadline: maximum seconds from the first connection.
        allow_private: whether servers may have private and loopback addresses.
    """

    def __init__(self, retries: int, deadline: float, *, allow_private: bool = False) -> None:
        self.retries, self.retried = retries, 0
        self.allow_private = allow_private
        self.refused_pause: float | None = None
        self._deadline = deadline
        self._end_time: float | None = None
        self._timer: threading.Timer | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        _thread.download = self
        return self

    def __exit__(self, *error: object) -> None:
        _thread.download = None
        if self._timer is not None:
            self._timer.cancel()

    @property
    def retries_text(self) -> str:
        """The number of retries as the end of an error message; empty for none."""
        if not self.retried:
            return ""
        return f" after {self.retried} {'retry' if self.retried == 1 else 'retries'}"

    @property
    def refused_pause_text(self) -> str:
        """The end of an error message if the server asked for a longer pause than allowed."""
        if self.refused_pause is None:
            return ""
        return f"; the server asks to wait {self.refused_pause:.0f} s"

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; the clock starts with the first connection."""
        if self._end_time is None:
            return self._deadline
        return max(0.0, self._end_time - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.seconds_left == 0

    def watch(self, connection: socket.socket) -> None:
        """Cut this connection at the deadline. The first call starts the clock."""
        self._socket = connection
        if self._timer is None:
            self._end_time = time.monotonic() + self._deadline
            self._timer = threading.Timer(self._deadline, self._cut)
            self._timer.daemon = True
            self._timer.start()
        elif self.expired:
            self._cut()

    def _cut(self) -> None:
        try:
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # already closed


class _ThreadState(threading.local):
    download: Download | None = None


_thread = _ThreadState()
"""The download of the current thread. urllib3 does not pass it to connections."""


class DownloadRetry(Retry):
    """Counts retries over all redirects of a download, without them, and ends at its deadline."""

    def __init__(self, *, download: Download, **options: Any) -> None:
        super().__init__(**options)
        self.download = download

    def new(self, **changes: Any) -> Self:
        return super().new(download=self.download, **changes)

    @property
    def _is_redirect(self) -> bool:
        return self.history[-1].redirect_location is not None

    def is_exhausted(self) -> bool:
        used_up = not self._is_redirect and self.download.retried >= self.download.retries
        return used_up or self.download.expired or super().is_exhausted()

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Self:
        if response is not None and not response.get_redirect_location():
            pause = self._requested_pause(response)
            if pause is not None and pause > min(MAX_PAUSE, self.download.seconds_left):
                self.download.refused_pause = pause
                raise MaxRetryError(_pool, url or "", error)
        retry = super().increment(method, url, response, error, _pool, _stacktrace)
        self.download.retried += not retry._is_redirect
        return retry

    def get_backoff_time(self) -> float:
        pause: float = self.backoff_factor * 2 ** (self.download.retried - 1)
        return min(pause, MAX_PAUSE, self.download.seconds_left)

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        pause = self._requested_pause(response)
        return None if pause is None else min(pause, MAX_PAUSE, self.download.seconds_left)

    def _requested_pause(self, response: BaseHTTPResponse) -> float | None:
        """Return the seconds of a valid Retry-After header."""
        try:
            return super().get_retry_after(response)
        except (InvalidHeader, ValueError, OverflowError):
            return None


class _WatchedConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """Connect to the first address of the host that is allowed and answers."""
        host = self._dns_host
        allow_private = _thread.download is not None and _thread.download.allow_private
        try:
            addresses = resolve_host(
                host, self.port, allowed_gai_family(), allow_private=allow_private
            )
        except socket.gaierror as error:
            raise NameResolutionError(host, self, error) from error
        try:
            for address in addresses[:-1]:
                self._dns_host = address
                with suppress(NewConnectionError, ConnectTimeoutError):
                    return super()._new_conn()
            self._dns_host = addresses[-1]
            return super()._new_conn()
        finally:
            self._dns_host = host  # the name of the Host header and of the certificate

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        if _thread.download is not None and self.sock is not None:
            _thread.download.watch(self.sock)
        response = super().getresponse()
        location = response.headers.get("Location")
        if location and not location.isascii():
            # http.client decodes the bytes of headers as Latin-1; urllib3 would quote these
            # characters as UTF-8, other bytes than the server sent.
            quoted = quote(location, safe=string.punctuation, encoding="latin-1")
            response.headers["Location"] = quoted
        # Before a retry or a redirect, urllib3 reads the rest of the response to reuse the
        # connection. The response may be endless, so close the connection instead.
        response.drain_conn = functools.partial(release, response)  # type: ignore[method-assign]
        return response


class _WatchedTlsConnection(_WatchedConnection, HTTPSConnection):
    pass


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTlsConnection


POOL_CLASSES = {"http": _WatchedPool, "https": _WatchedTlsPool}


def release(response: BaseHTTPResponse) -> None:
    """Return the connection to its pool; closed, unless the response was read to its end."""
    response.close()
    response.release_conn()
