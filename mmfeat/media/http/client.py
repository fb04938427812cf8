"""Download URLs with limits on bytes and time. The only place that downloads untrusted files.

urllib3 does the work: connection pools, retries, redirects, decoding. This module and
`download` add limits that urllib3 lacks: on the bytes of a body, on the pages that come with
redirects and errors, on the total time, on the pauses that servers ask for, and on the addresses
that are connected to. Proxies are not used, so that the addresses are known.
"""

import threading
from dataclasses import dataclass
from http.client import HTTPException

from urllib3 import PoolManager
from urllib3.exceptions import (
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    ResponseError,
    TimeoutError,
)
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry, Timeout

from mmfeat.errors import RecordError
from mmfeat.media.failures import PASSING_STATUSES, failure_reason, status_reason
from mmfeat.media.http.download import POOL_CLASSES, Download, DownloadRetry, release
from mmfeat.media.http.robots_tag import USER_AGENT, excluding_directive
from mmfeat.media.read_policy import ReadPolicy
from mmfeat.records import PASSING_REASON
from mmfeat.system import is_http
from mmfeat.version import __version__

MAX_REDIRECTS = 5
MAX_HOSTS = 128
"""Hosts with open connections; the least recently used one is dropped."""
_BLOCK_BYTES = 64 * 1024
_ENCODINGS = frozenset(["", "identity", "gzip", "x-gzip", "deflate"])
"""Content encodings that are decoded on every machine; urllib3 passes others on as they are."""


@dataclass(frozen=True)
class HttpSettings:
    """Settings for HTTP and HTTPS.

    Attributes:
        timeout: seconds to wait for a connection, and between two reads.
        retries: retries after a broken connection, an incomplete body or one of
            `PASSING_STATUSES`. Redirects count separately.
        per_host: maximum number of connections per host. Further threads wait.
        backoff: seconds before the first retry; doubles with each retry, up to `MAX_PAUSE`. A
            Retry-After header takes precedence. If it asks for more than `MAX_PAUSE` or the
            deadline allows, there is no retry.
        deadline: maximum seconds per URL from its first connection; None = ten timeouts.
    """

    timeout: float = 30.0
    retries: int = 3
    per_host: int = 16
    backoff: float = 0.5
    deadline: float | None = None


class HttpClient:
    """Downloads URLs. One client serves all threads of a process. It can be pickled.

    Args:
        max_bytes: a longer body is refused, before and after decoding.
        settings: timeouts, retries and connections.
        policy: which addresses and files are allowed.
    """

    def __init__(self, max_bytes: int, settings: HttpSettings, policy: ReadPolicy) -> None:
        self.max_bytes, self.settings, self.policy = max_bytes, settings, policy
        timeout, deadline = settings.timeout, settings.deadline
        self._deadline = 10 * timeout if deadline is None else deadline
        self._pool: PoolManager | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["HttpClient"], tuple[int, HttpSettings, ReadPolicy]]:
        # Connections and locks cannot be pickled: the copy opens its own.
        return type(self), (self.max_bytes, self.settings, self.policy)

    def get(self, url: str) -> bytes:
        """Return the complete body of a URL.

        Raises:
            RecordError: `not_found` for 404 and 410; `too_large`; `empty` for no bytes;
                `unavailable` for what can pass: a status of `PASSING_STATUSES`, no connection, an
                incomplete body, a missed deadline; `forbidden_address`; `robots_tag`;
                `unreadable` for everything else: another status, an invalid URL, too many
                redirects, an unknown encoding.
        """
        allow_private = self.policy.allow_private
        download = Download(self.settings.retries, self._deadline, allow_private=allow_private)
        try:
            if not is_http(url):
                raise ValueError("not an http or https URL")
            with download:
                return self._get(url, download)
        except RecordError as error:
            raise RecordError(error.reason, f"{_shorten(url)}: {error.detail}") from None
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            message, reason = _describe_error(error), failure_reason(_unwrap(error), remote=True)
            if download.expired:
                message, reason = f"not finished within {self._deadline:g} s", PASSING_REASON
            detail = f"{_shorten(url)}: {message}{download.retries_text}"
            raise RecordError(reason, detail) from error

    def _get(self, url: str, download: Download) -> bytes:
        retry: Retry = DownloadRetry(
            download=download,
            total=None,
            redirect=MAX_REDIRECTS,
            status_forcelist=PASSING_STATUSES,
            raise_on_status=False,
            backoff_factor=self.settings.backoff,
        )
        timeout = Timeout(connect=self.settings.timeout, read=self.settings.timeout)
        while True:
            response = self._connections().request(
                "GET", url, retries=retry, redirect=True, preload_content=False, timeout=timeout
            )  # fmt: skip
            try:
                return self._read_body(response, download)
            except (ProtocolError, ReadTimeoutError) as error:
                # urllib3 retries only until the headers are read.
                retry = (response.retries or retry).increment("GET", url, error=error)
            finally:
                release(response)
            retry.sleep()

    def _read_body(self, response: BaseHTTPResponse, download: Download) -> bytes:
        if response.status >= 300:
            detail = f"HTTP {response.status}{download.retries_text}{download.refused_pause_text}"
            raise RecordError(status_reason(response.status), detail)
        self._check_headers(response)
        content_length = getattr(response, "length_remaining", None)
        if content_length is not None and content_length > self.max_bytes:
            detail = f"{content_length} bytes; at most {self.max_bytes} are read"
            raise RecordError("too_large", detail)
        body = bytearray()
        while block := response.read1(_BLOCK_BYTES, decode_content=True):
            body += block
            if len(body) > self.max_bytes:
                raise RecordError("too_large", f"more than {self.max_bytes} bytes")
        if download.expired:  # a body without Content-Length ends when the connection is cut
            raise ProtocolError("cut off at the deadline")
        if not body:
            raise RecordError("empty", "no bytes")
        return bytes(body)

    def _check_headers(self, response: BaseHTTPResponse) -> None:
        tags = response.headers.getlist("X-Robots-Tag")
        if not self.policy.ignore_robots_tag and (directive := excluding_directive(tags)):
            detail = f"X-Robots-Tag is {directive}; --ignore-robots-tag permits it"
            raise RecordError("robots_tag", detail)
        encodings = response.headers.get("Content-Encoding", "").lower().split(",")
        if unknown := [name.strip() for name in encodings if name.strip() not in _ENCODINGS]:
            raise RecordError("unreadable", f"Content-Encoding is {unknown[0]}, which is not read")

    def _connections(self) -> PoolManager:
        with self._lock:
            if self._pool is None:
                self._pool = PoolManager(
                    num_pools=MAX_HOSTS,
                    maxsize=self.settings.per_host,
                    block=True,
                    headers={
                        "User-Agent": f"{USER_AGENT}/{__version__}",
                        "Accept": "*/*",
                        "Accept-Encoding": "identity",
                    },
                )
                self._pool.pool_classes_by_scheme = POOL_CLASSES
            return self._pool


def _shorten(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."


def _unwrap(error: Exception) -> Exception:
    """Return the last error of several tries."""
    return error.reason or error if isinstance(error, MaxRetryError) else error


def _describe_error(error: Exception) -> str:
    """Return the underlying cause, without the wrappers of urllib3."""
    error = _unwrap(error)
    if isinstance(error, TimeoutError) and not isinstance(error, NewConnectionError):
        return "timed out"
    if isinstance(error, ProtocolError) and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    if isinstance(error, ResponseError):
        return str(error)
    return _shorten(f"{type(error).__name__}: {str(error).rpartition('): ')[2]}")
