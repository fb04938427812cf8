"""A web server whose paths name what it does, and clients that connect to it."""

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from mmfeat.errors import RecordError
from mmfeat.media import HttpSettings, ReadPolicy
from mmfeat.media.http import HttpClient

BODY = b"a picture, say" * 100

GetError = Callable[..., RecordError]
"""Returns the error of a download: takes a path of the server, and arguments of `make_client`."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.requests.append((self.path, dict(self.headers)))
            number = sum(path == self.path for path, _ in self.server.requests)
            self.server.active += 1
            self.server.max_active = max(self.server.max_active, self.server.active)
        try:
            getattr(self, self.path.strip("/").partition("/")[0])(number)
        except OSError:
            self.close_connection = True  # the client has gone
        finally:
            with self.server.lock:
                self.server.active -= 1

    def reply(self, status: int = 200, body: bytes = BODY, **headers: str) -> None:
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def ok(self, number: int) -> None:
        self.reply()

    def status(self, number: int) -> None:
        self.reply(int(self.path.rpartition("/")[2]) if number == 1 else 200)

    def missing(self, number: int) -> None:
        self.reply(404)

    def gone(self, number: int) -> None:
        self.reply(410)

    def forbidden(self, number: int) -> None:
        self.reply(403)

    def fails_once(self, number: int) -> None:
        self.reply(500 if number == 1 else 200)

    def busy(self, number: int) -> None:
        self.reply(503)

    def pause(self, number: int) -> None:
        self.reply(429 if number == 1 else 200, Retry_After=self.path.rpartition("/")[2])

    def empty(self, number: int) -> None:
        self.reply(body=b"")

    def cut(self, number: int) -> None:
        self.reply(body=BODY[:10], Content_Length=str(len(BODY)))
        self.close_connection = True

    def cut_once(self, number: int) -> None:
        self.cut(number) if number == 1 else self.ok(number)

    def hangs_up(self, number: int) -> None:
        self.close_connection = True

    def chunked(self, number: int) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(BODY), BODY))
        self.wfile.write(b"0\r\n\r\n")

    def cut_chunks(self, number: int) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(BODY), BODY))
        self.close_connection = True

    def two_lengths(self, number: int) -> None:
        self.reply(Content_Length="5, 6")

    def bomb(self, number: int) -> None:
        self.reply(body=gzip.compress(bytes(10_000_000)), Content_Encoding="gzip")

    def zipped(self, number: int) -> None:
        self.reply(body=gzip.compress(BODY), Content_Encoding="gzip")

    def tagged(self, number: int) -> None:
        self.reply(X_Robots_Tag=unquote(self.path.rpartition("/")[2]))

    def encoded(self, number: int) -> None:
        encoding = self.path.rpartition("/")[2]
        encode = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}
        body = encode.get(encoding.lower(), bytes)(BODY)
        self.reply(body=body, Content_Encoding=encoding)

    def twice(self, number: int) -> None:
        body = gzip.compress(gzip.compress(bytes(100_000_000)))
        self.reply(body=body, Content_Encoding="gzip, gzip")

    def redirect(self, number: int) -> None:
        self.reply(302, Location=unquote(self.path.rpartition("/")[2]))

    def silent(self, number: int) -> None:
        self.server.stopped.wait(5)

    def slow_body(self, number: int) -> None:
        self.reply(body=b"", Content_Length="1000")
        self.send_slowly()

    def slow_body_without_length(self, number: int) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        self.send_slowly()

    def slow_headers(self, number: int) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.send_slowly()

    def send_slowly(self) -> None:
        while not self.server.stopped.wait(0.02):
            self.wfile.write(b"x")

    def endless(self, number: int) -> None:
        """Send a redirect with an endless page."""
        self.reply(302, b"", Location="/ok", Content_Length=str(2**60))
        while True:
            self.wfile.write(bytes(2**20))

    def loop(self, number: int) -> None:
        self.reply(302, Location=self.path)

    def hops(self, number: int) -> None:
        left = int(self.path.rpartition("/")[2])
        self.reply(302, Location=f"/hops/{left - 1}" if left else "/ok")

    def renamed(self, number: int) -> None:
        """Redirect to a name whose bytes are not quoted, as many servers do."""
        encoding = self.path.rpartition("/")[2]
        name = "/ok/caf\u00e9 %41.png?a=\u00fc&b".encode(encoding).decode("latin-1")
        self.reply(302, Location=name)

    def to_file(self, number: int) -> None:
        self.reply(302, Location="file:///etc/passwd")

    def slow(self, number: int) -> None:
        time.sleep(0.03)
        self.reply()

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), Handler)
        self.connections = 0
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.active = self.max_active = 0

    def handle_error(self, *args: Any) -> None:
        pass  # the client disconnects on purpose

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()

    def url(self, path: str) -> str:
        return f"http://{self.server_address[0]}:{self.server_port}/{path}"


def serve(host: str) -> Iterator[Server]:
    server = Server(host)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()


def make_client(
    max_bytes: int = 10_000,
    *,
    allow_private: bool = True,
    ignore_robots_tag: bool = False,
    **settings: Any,
) -> HttpClient:
    policy = ReadPolicy(allow_private=allow_private, ignore_robots_tag=ignore_robots_tag)
    return HttpClient(
        max_bytes, HttpSettings(**{"timeout": 5.0, "backoff": 0.01, **settings}), policy
    )
