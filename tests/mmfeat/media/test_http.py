import gzip
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mmfeat import __version__
from mmfeat.errors import RecordError
from mmfeat.media.http import HttpReader

BODY = b"a picture, say" * 100


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.seen.append((self.path, dict(self.headers)))
            number = sum(path == self.path for path, _ in self.server.seen)
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            getattr(self, self.path.strip("/").partition("/")[0])(number)
        except OSError:
            self.close_connection = True  # the reader has gone
        finally:
            with self.server.lock:
                self.server.now -= 1

    def reply(self, status: int = 200, body: bytes = BODY, **headers: str) -> None:
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def ok(self, number: int) -> None:
        self.reply()

    def missing(self, number: int) -> None:
        self.reply(404)

    def gone(self, number: int) -> None:
        self.reply(410)

    def forbidden(self, number: int) -> None:
        self.reply(403)

    def stumbles(self, number: int) -> None:
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

    def silent(self, number: int) -> None:
        self.server.stopped.wait(5)

    def drips(self, number: int) -> None:
        self.reply(body=b"", Content_Length="1000")
        self.drip()

    def drips_without_length(self, number: int) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        self.drip()

    def drips_headers(self, number: int) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.drip()

    def drip(self) -> None:
        while not self.server.stopped.wait(0.02):
            self.wfile.write(b"x")

    def endless(self, number: int) -> None:
        """A redirect, the page of which never ends."""
        self.reply(302, b"", Location="/ok", Content_Length=str(2**60))
        while True:
            self.wfile.write(bytes(2**20))

    def loop(self, number: int) -> None:
        self.reply(302, Location=self.path)

    def hops(self, number: int) -> None:
        left = int(self.path.rpartition("/")[2])
        self.reply(302, Location=f"/hops/{left - 1}" if left else "/ok")

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

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.now = self.most = 0

    def handle_error(self, *args: Any) -> None:
        pass  # the reader hangs up on purpose

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()


def reader(**settings: Any) -> HttpReader:
    return HttpReader(**{"max_bytes": 10_000, "timeout": 5.0, "backoff": 0.01, **settings})


Refused = Callable[..., RecordError]


@pytest.fixture
def refused(server: Server) -> Refused:
    def read(path: str, **settings: Any) -> RecordError:
        with pytest.raises(RecordError) as caught:
            reader(**settings).read(server.url(path))
        assert server.url(path) in caught.value.detail
        return caught.value

    return read


def test_a_body_comes_whole_and_the_server_learns_who_asks(server: Server) -> None:
    assert reader().read(server.url("ok")) == BODY
    [(_, headers)] = server.seen
    assert headers["User-Agent"] == f"mmfeat/{__version__}"
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("path", ["missing", "gone"])
def test_404_and_410_are_not_found_and_not_tried_again(
    server: Server, refused: Refused, path: str
) -> None:
    assert refused(path).reason == "not_found"
    assert len(server.seen) == 1


def test_another_status_is_unreadable_and_named(server: Server, refused: Refused) -> None:
    error = refused("forbidden")
    assert (error.reason, error.detail) == ("unreadable", f"{server.url('forbidden')}: HTTP 403")
    assert len(server.seen) == 1


@pytest.mark.parametrize("path", ["stumbles", "cut_once"])
def test_a_server_that_stumbles_once_is_asked_again(server: Server, path: str) -> None:
    assert reader().read(server.url(path)) == BODY
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("retries", "words"), [(0, ""), (1, " after 1 retry"), (3, " after 3 retries")]
)
def test_after_the_retries_the_status_is_told(
    server: Server, refused: Refused, retries: int, words: str
) -> None:
    error = refused("busy", retries=retries)
    assert error.reason == "unreadable"
    assert error.detail.endswith(f": HTTP 503{words}")
    assert len(server.seen) == retries + 1


@pytest.mark.parametrize("path", ["cut", "cut_chunks", "hangs_up"])
def test_a_body_cut_off_is_never_returned_short(
    server: Server, refused: Refused, path: str
) -> None:
    error = refused(path, retries=2)
    assert error.reason == "unreadable"
    assert error.detail.endswith(" after 2 retries")
    assert len(server.seen) == 3


def test_pauses_double_up_to_a_bound_and_the_servers_wish_is_bounded_too(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", slept.append)
    with pytest.raises(RecordError):
        reader(backoff=10.0, retries=5, deadline=1000).read(server.url("busy"))
    assert slept == [10, 20, 40, 60, 60]
    for wish, pause in [("7", 7), ("99999", 60), ("soon", 10), ("-5", 10), ("0", 10)]:
        slept.clear()
        assert reader(backoff=10.0, deadline=1000).read(server.url(f"pause/{wish}")) == BODY
        assert slept == [pause]


def test_a_body_that_announces_too_many_bytes_is_not_read(refused: Refused) -> None:
    error = refused("ok", max_bytes=len(BODY) - 1)
    assert error.reason == "too_large"
    assert str(len(BODY)) in error.detail


def test_a_body_as_long_as_allowed_is_read(server: Server) -> None:
    assert reader(max_bytes=len(BODY)).read(server.url("ok")) == BODY
    assert reader(max_bytes=100 * len(BODY)).read(server.url("chunked")) == BODY * 100


@pytest.mark.parametrize("path", ["chunked", "bomb"])
def test_bytes_are_counted_as_they_come_and_as_they_are_decoded(
    server: Server, refused: Refused, path: str
) -> None:
    assert refused(path, max_bytes=20_000).reason == "too_large"
    assert len(server.seen) == 1


def test_a_body_zipped_against_our_wish_is_unzipped(server: Server) -> None:
    assert reader().read(server.url("zipped")) == BODY


def test_no_bytes_are_empty(refused: Refused) -> None:
    assert refused("empty").reason == "empty"


def test_a_server_that_says_nothing_times_out(server: Server, refused: Refused) -> None:
    error = refused("silent", timeout=0.1, retries=1)
    assert error.reason == "unreadable"
    assert error.detail.endswith(": timed out after 1 retry")
    assert len(server.seen) == 2


@pytest.mark.parametrize("path", ["drips", "drips_without_length", "drips_headers"])
def test_a_server_that_drips_is_cut_at_the_deadline(
    server: Server, refused: Refused, path: str
) -> None:
    started = time.monotonic()
    error = refused(path, deadline=0.3)
    assert 0.25 < time.monotonic() - started < 20
    assert error.reason == "unreadable"
    assert error.detail.endswith(": not finished within 0.3 s")
    assert len(server.seen) == 1


def test_a_pause_does_not_outlast_the_deadline(server: Server, refused: Refused) -> None:
    started = time.monotonic()
    error = refused("pause/50", deadline=0.2)
    assert time.monotonic() - started < 20
    assert "not finished within 0.2 s" in error.detail


def test_redirects_are_followed_five_times_and_do_not_count_as_retries(
    server: Server, refused: Refused
) -> None:
    assert reader(retries=0).read(server.url("hops/4")) == BODY
    error = refused("hops/5", retries=0)
    assert (error.reason, "too many redirects" in error.detail) == ("unreadable", True)


def test_a_redirect_in_circles_is_unreadable(server: Server, refused: Refused) -> None:
    assert refused("loop").reason == "unreadable"
    assert len(server.seen) == 6


def test_a_redirect_with_an_endless_page_is_followed_without_reading_it(server: Server) -> None:
    assert reader(deadline=3).read(server.url("endless")) == BODY


def test_a_redirect_leaves_http_for_nothing_else(refused: Refused) -> None:
    error = refused("to_file")
    assert error.reason == "unreadable"
    assert "file" in error.detail


@pytest.mark.parametrize(
    "url",
    [
        "", "picture.jpg", "ftp://h/x", "file:///etc/passwd", "http://", "http://[::1", "https:///x",
        "http://h:99999/", "http://h:x/", "http://a b/", "http://\u2603.\x00/", "http://xn--\ud800/",
        "http://" + "a" * 300,
    ],
)  # fmt: skip
def test_what_is_no_url_is_unreadable(url: str) -> None:
    with pytest.raises(RecordError) as caught:
        reader(retries=0, timeout=0.5).read(url)
    assert caught.value.reason == "unreadable"
    assert len(caught.value.detail) < 500


def test_nobody_listening_is_unreadable() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        with pytest.raises(RecordError) as caught:
            reader(retries=2).read(url)
    assert caught.value.reason == "unreadable"
    assert "refused" in caught.value.detail
    assert caught.value.detail.endswith("after 2 retries")


def test_no_more_connections_to_a_host_than_allowed(server: Server) -> None:
    few = reader(per_host=3)
    with ThreadPoolExecutor(12) as threads:
        bodies = list(threads.map(few.read, [server.url("slow")] * 24))
    assert bodies == [BODY] * 24
    assert server.most == 3


def test_a_place_is_given_back_whatever_happens(server: Server) -> None:
    single = reader(per_host=1, max_bytes=len(BODY), retries=1, deadline=0.2)
    paths = "missing busy cut two_lengths chunked empty bomb hops/2 loop endless drips_headers"
    for path in paths.split():
        with suppress(RecordError):
            single.read(server.url(path))
    assert single.read(server.url("ok")) == BODY


def test_a_reader_survives_pickling_even_after_use(server: Server) -> None:
    used = reader(per_host=2, retries=1)
    used.read(server.url("ok"))
    copy = pickle.loads(pickle.dumps(used))
    assert copy.read(server.url("ok")) == BODY
    names = ("max_bytes", "per_host", "timeout", "retries", "backoff", "deadline")
    assert [getattr(copy, name) for name in names] == [getattr(used, name) for name in names]
