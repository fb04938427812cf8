"""An S3 server in this process, moto's, which counts requests and fails as it is told."""

import re
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

FAULTS = ("503", "500", "429", "reset", "cut")
"""How a request fails: a status, a closed connection, or half of the content and then that."""

_ERROR = (
    b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.'
    b"</Message><RequestId>x</RequestId></Error>"
)


class _QuietHandler(MotoRequestHandler):
    def log(self, *arguments: object) -> None:
        pass


class S3Server:
    """The server.

    Attributes:
        requests: method and path of each request since `requests` was cleared, such as
            `GET bucket/raw/0.png` or `LIST bucket/store`.
        fault: called with the number of a request since `fault` was set; returns one of `FAULTS`,
            or None.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.failed = 0
        self.fault: Callable[[int], str | None] = lambda number: None
        self._number = 0
        self._lock = Lock()
        self._app = DomainDispatcherApplication(create_backend_app)

    @contextmanager
    def run(self) -> Iterator[str]:
        """Serve until the block ends; yields the URL of the server."""
        server = make_server("127.0.0.1", 0, self._serve, True, request_handler=_QuietHandler)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def fail(self, fault: Callable[[int], str | None]) -> None:
        """Fail requests from now on; see `fault`."""
        with self._lock:
            self.fault, self._number, self.failed = fault, 0, 0

    def count(self) -> Counter[str]:
        """Return how many requests of each method there were."""
        return Counter(request.split(" ", 1)[0] for request in self.requests)

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self._number += 1
            self.requests.append(_describe(environ))
            fault = self.fault(self._number)
            self.failed += fault is not None
        if fault is None:
            return self._app(environ, start_response)
        if fault == "cut" and environ["REQUEST_METHOD"] == "GET":
            return self._cut(environ, start_response)
        # A client that still sends would see a reset instead of the answer.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if fault in ("reset", "cut"):
            _close(environ)
            raise ConnectionResetError
        start_response(f"{fault} Failed", [("Content-Type", "application/xml")])
        return [_ERROR]

    def _cut(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        content = b"".join(self._app(environ, start_response))
        yield content[: len(content) // 2]
        _close(environ)


def _describe(environ: dict[str, Any]) -> str:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/")
    query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    if method == "GET" and "list-type" in query:
        return f"LIST {path}/{query.get('prefix', [''])[0]}"
    if method == "POST" and "delete" in query:
        return f"DELETE {path}"
    return f"{method} {path}"


def _close(environ: dict[str, Any]) -> None:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


def name_kinds(requests: Iterable[str]) -> Counter[str]:
    """Count requests by method and kind of object: digits are left out of names."""
    return Counter(re.sub(r"\d+", "N", request) for request in requests)
