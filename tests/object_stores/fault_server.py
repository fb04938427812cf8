"""An HTTP server in this process that counts the requests to an object store and lets some fail."""

import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

FAULTS = ("503", "500", "429", "reset", "cut", "lost")
"""How a request fails: a status; a connection that is closed before anything is done; half of the
content of a GET, and then that; a request that is done, and a connection that is closed before the
answer.
"""

Environ = dict[str, Any]
"""A request, in the form of WSGI."""


class FaultServer:
    """The server.

    Args:
        app: the object store, an application of WSGI.
        describe: returns method and path of a request, such as `GET bucket/a` or `LIST bucket`.
        error: content of an answer with a status of `FAULTS`: status → type and content.
        handler: makes requests of HTTP into those of WSGI.

    Attributes:
        requests: description of each request since the list was cleared.
        fault: called with the number of a request since `fail` was called; returns one of
            `FAULTS`, or None.
        failed: how many requests have failed since then.
    """

    def __init__(
        self,
        app: Any,
        describe: Callable[[Environ], str],
        error: Callable[[str], tuple[str, bytes]],
        handler: type[WSGIRequestHandler] = WSGIRequestHandler,
    ) -> None:
        self.requests: list[str] = []
        self.failed = 0
        self.fault: Callable[[int], str | None] = lambda number: None
        self._number = 0
        self._lock = Lock()
        self._app, self._describe, self._error = app, describe, error
        self._handler = type("Handler", (handler,), {"log": lambda *_: None})

    @contextmanager
    def run(self) -> Iterator[str]:
        """Serve until the block ends; yields the URL of the server."""
        server = make_server("127.0.0.1", 0, self._serve, True, request_handler=self._handler)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def fail(self, fault: Callable[[int], str | None]) -> None:
        """Let requests fail from now on; see `fault`."""
        with self._lock:
            self.fault, self._number, self.failed = fault, 0, 0

    def heal(self) -> None:
        """Let no request fail from now on."""
        with self._lock:
            self.fault = lambda number: None

    def count(self) -> Counter[str]:
        """Return how many requests of each method there were."""
        return Counter(request.split(" ", 1)[0] for request in self.requests)

    def _serve(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self._number += 1
            self.requests.append(self._describe(environ))
            fault = self.fault(self._number)
            self.failed += fault is not None
        if fault is None:
            return self._app(environ, start_response)
        if fault == "cut" and environ["REQUEST_METHOD"] == "GET":
            return self._cut(environ, start_response)
        if fault == "lost":
            Response.from_app(self._app, environ, buffered=True)
        else:  # a client that still sends would see a reset instead of the answer
            _read_body(environ)
        if not fault.isdecimal():
            _close(environ)
            raise ConnectionResetError
        kind, content = self._error(fault)
        start_response(f"{fault} Failed", [("Content-Type", kind)])
        return [content]

    def _cut(self, environ: Environ, start_response: Any) -> Iterator[bytes]:
        content = b"".join(self._app(environ, start_response))
        yield content[: len(content) // 2]
        _close(environ)


def _read_body(environ: Environ) -> None:
    if environ.get("wsgi.input_terminated"):
        environ["wsgi.input"].read()
    else:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def _close(environ: Environ) -> None:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
