import gzip
import pickle
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

import pytest

from mmfeat import __version__
from mmfeat.errors import RecordError
from mmfeat.media import addresses
from mmfeat.media.http_client import HttpClient

BODY = b"a picture, say" * 100


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


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serve("127.0.0.1")


def serve(host: str) -> Iterator[Server]:
    server = Server(host)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()


def make_client(**settings: Any) -> HttpClient:
    defaults = {"max_bytes": 10_000, "timeout": 5.0, "backoff": 0.01, "allow_private": True}
    return HttpClient(**{**defaults, **settings})


GetError = Callable[..., RecordError]


@pytest.fixture
def get_error(server: Server) -> GetError:
    def read(path: str, **settings: Any) -> RecordError:
        with pytest.raises(RecordError) as caught:
            make_client(**settings).get(server.url(path))
        assert server.url(path) in caught.value.detail
        return caught.value

    return read


@pytest.mark.parametrize(
    ("encoding", "path"),
    [
        ("utf-8", "/ok/caf%C3%A9%20%41.png?a=%C3%BC&b"),
        ("latin-1", "/ok/caf%E9%20%41.png?a=%FC&b"),
    ],
)
def test_a_redirect_requests_the_bytes_of_its_location(
    server: Server, encoding: str, path: str
) -> None:
    assert make_client().get(server.url(f"renamed/{encoding}")) == BODY
    assert server.requests[-1][0].upper() == path.upper()


def test_get_returns_the_body_and_sends_headers(server: Server) -> None:
    assert make_client().get(server.url("ok")) == BODY
    [(_, headers)] = server.requests
    assert headers["User-Agent"] == f"mmfeat/{__version__}"
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("path", ["missing", "gone"])
def test_404_and_410_are_not_found_without_retry(
    server: Server, get_error: GetError, path: str
) -> None:
    assert get_error(path).reason == "not_found"
    assert len(server.requests) == 1


def test_other_status_is_unreadable(server: Server, get_error: GetError) -> None:
    error = get_error("forbidden")
    assert (error.reason, error.detail) == ("unreadable", f"{server.url('forbidden')}: HTTP 403")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 520, 522, 529, 599])
def test_status_that_can_pass_is_retried_and_unavailable(
    server: Server, get_error: GetError, status: int
) -> None:
    assert get_error(f"status/{status}", retries=0).reason == "unavailable"
    assert make_client().get(server.url(f"status/{status}/{status}")) == BODY


@pytest.mark.parametrize("status", [400, 401, 403, 405, 406, 409, 413, 414, 451])
def test_other_status_is_permanent(server: Server, get_error: GetError, status: int) -> None:
    assert get_error(f"status/{status}").reason == "unreadable"
    assert len(server.requests) == 1


def test_unknown_host_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    with pytest.raises(RecordError) as caught:
        make_client(retries=1).get("http://pictures.example/1.png")
    assert caught.value.reason == "unavailable"
    assert "name resolution" in caught.value.detail


@pytest.mark.parametrize("path", ["fails_once", "cut_once"])
def test_temporary_error_is_retried(server: Server, path: str) -> None:
    assert make_client().get(server.url(path)) == BODY
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("retries", "suffix"), [(0, ""), (1, " after 1 retry"), (3, " after 3 retries")]
)
def test_error_has_status_and_number_of_retries(
    server: Server, get_error: GetError, retries: int, suffix: str
) -> None:
    error = get_error("busy", retries=retries)
    assert error.reason == "unavailable"
    assert error.detail.endswith(f": HTTP 503{suffix}")
    assert len(server.requests) == retries + 1


@pytest.mark.parametrize("path", ["cut", "cut_chunks", "hangs_up"])
def test_incomplete_body_is_unavailable(server: Server, get_error: GetError, path: str) -> None:
    error = get_error(path, retries=2)
    assert error.reason == "unavailable"
    assert error.detail.endswith(" after 2 retries")
    assert len(server.requests) == 3


def test_backoff_and_retry_after_are_bounded(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", pauses.append)
    with pytest.raises(RecordError):
        make_client(backoff=10.0, retries=5, deadline=1000).get(server.url("busy"))
    assert pauses == [10, 20, 40, 60, 60]
    for retry_after, pause in [("7", 7), ("60", 60), ("soon", 10), ("-5", 10), ("0", 10)]:
        pauses.clear()
        assert (
            make_client(backoff=10.0, deadline=1000).get(server.url(f"pause/{retry_after}")) == BODY
        )
        assert pauses == [pause]


def test_large_content_length_is_refused(get_error: GetError) -> None:
    error = get_error("ok", max_bytes=len(BODY) - 1)
    assert error.reason == "too_large"
    assert str(len(BODY)) in error.detail


def test_body_of_the_maximum_size_is_read(server: Server) -> None:
    assert make_client(max_bytes=len(BODY)).get(server.url("ok")) == BODY
    assert make_client(max_bytes=100 * len(BODY)).get(server.url("chunked")) == BODY * 100


@pytest.mark.parametrize("path", ["chunked", "bomb"])
def test_size_limit_applies_before_and_after_decoding(
    server: Server, get_error: GetError, path: str
) -> None:
    assert get_error(path, max_bytes=20_000).reason == "too_large"
    assert len(server.requests) == 1


def test_gzip_body_is_decoded(server: Server) -> None:
    assert make_client().get(server.url("zipped")) == BODY


def test_body_without_bytes_is_empty(get_error: GetError) -> None:
    assert get_error("empty").reason == "empty"


def test_silent_server_times_out(server: Server, get_error: GetError) -> None:
    error = get_error("silent", timeout=0.1, retries=1)
    assert error.reason == "unavailable"
    assert error.detail.endswith(": timed out after 1 retry")
    assert len(server.requests) == 2


@pytest.mark.parametrize("path", ["slow_body", "slow_body_without_length", "slow_headers"])
def test_slow_server_is_cut_off_at_the_deadline(
    server: Server, get_error: GetError, path: str
) -> None:
    started = time.monotonic()
    error = get_error(path, deadline=0.3)
    assert 0.25 < time.monotonic() - started < 20
    assert error.reason == "unavailable"
    assert error.detail.endswith(": not finished within 0.3 s")
    assert len(server.requests) == 1


@pytest.mark.parametrize(("path", "deadline"), [("pause/61", 1000), ("pause/50", 5)])
def test_longer_retry_after_ends_the_tries(
    server: Server, get_error: GetError, path: str, deadline: float
) -> None:
    started = time.monotonic()
    error = get_error(path, deadline=deadline)
    assert time.monotonic() - started < 20
    pause = path.rpartition("/")[2]
    assert error.reason == "unavailable"
    assert error.detail.endswith(f"HTTP 429; the server asks to wait {pause} s")
    assert len(server.requests) == 1


def test_five_redirects_are_followed_and_are_no_retries(
    server: Server, get_error: GetError
) -> None:
    assert make_client(retries=0).get(server.url("hops/4")) == BODY
    error = get_error("hops/5", retries=0)
    assert (error.reason, "too many redirects" in error.detail) == ("unreadable", True)


def test_redirect_loop_is_unreadable(server: Server, get_error: GetError) -> None:
    assert get_error("loop").reason == "unreadable"
    assert len(server.requests) == 6


def test_endless_page_of_a_redirect_is_not_read(server: Server) -> None:
    assert make_client(deadline=3).get(server.url("endless")) == BODY


def test_redirect_to_another_scheme_is_refused(get_error: GetError) -> None:
    error = get_error("to_file")
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
def test_invalid_url_is_unreadable(url: str) -> None:
    with pytest.raises(RecordError) as caught:
        make_client(retries=0, timeout=0.5).get(url)
    assert caught.value.reason == "unreadable"
    assert len(caught.value.detail) < 500


def test_refused_connection_is_unavailable() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        with pytest.raises(RecordError) as caught:
            make_client(retries=2).get(url)
    assert caught.value.reason == "unavailable"
    assert "refused" in caught.value.detail
    assert caught.value.detail.endswith("after 2 retries")


def test_connections_per_host_are_limited(server: Server) -> None:
    client = make_client(per_host=3)
    with ThreadPoolExecutor(12) as threads:
        bodies = list(threads.map(client.get, [server.url("slow")] * 24))
    assert bodies == [BODY] * 24
    assert server.max_active == 3


def test_connections_return_to_the_pool_after_errors(server: Server) -> None:
    client = make_client(per_host=1, max_bytes=len(BODY), retries=1, deadline=0.2)
    paths = "missing busy cut two_lengths chunked empty bomb hops/2 loop endless slow_headers"
    for path in paths.split():
        with suppress(RecordError):
            client.get(server.url(path))
    assert client.get(server.url("ok")) == BODY


def test_client_can_be_pickled_after_use(server: Server) -> None:
    client = make_client(per_host=2, retries=1, ignore_robots_tag=True)
    client.get(server.url("ok"))
    copy = pickle.loads(pickle.dumps(client))
    assert copy.get(server.url("ok")) == BODY
    names = [name for name in vars(client) if not name.startswith("_")]
    assert names
    assert [getattr(copy, name) for name in names] == [getattr(client, name) for name in names]


@pytest.mark.parametrize(
    "directive", ["noai", "noimageai", "noindex", "noimageindex", "mmfeat: noai"]
)
def test_files_that_servers_exclude_are_refused_without_retry(
    server: Server, get_error: GetError, directive: str
) -> None:
    path = f"tagged/{quote(directive)}"
    error = get_error(path)
    assert error.reason == "robots_tag"
    assert error.detail.endswith("--ignore-robots-tag permits it")
    assert len(server.requests) == 1
    assert make_client(ignore_robots_tag=True).get(server.url(path)) == BODY


@pytest.mark.parametrize("directive", ["nofollow", "otherbot: noai"])
def test_other_robots_tags_do_not_matter(server: Server, directive: str) -> None:
    assert make_client().get(server.url(f"tagged/{quote(directive)}")) == BODY


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "identity", "GZIP"])
def test_known_content_encodings_are_decoded(server: Server, encoding: str) -> None:
    assert make_client().get(server.url(f"encoded/{encoding}")) == BODY


@pytest.mark.parametrize("encoding", ["zstd", "br", "compress", "gzip,zstd", "foo"])
def test_other_content_encodings_are_refused(
    server: Server, get_error: GetError, encoding: str
) -> None:
    error = get_error(f"encoded/{encoding}")
    assert error.reason == "unreadable"
    assert f"Content-Encoding is {encoding.split(',')[-1]}" in error.detail
    assert len(server.requests) == 1


def test_bodies_encoded_twice_keep_the_size_limit(get_error: GetError) -> None:
    assert get_error("twice", max_bytes=20_000).reason == "too_large"


@pytest.fixture
def other_server() -> Iterator[Server]:
    """A server on another loopback address."""
    yield from serve("127.0.0.2")


@pytest.fixture
def public_names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and their addresses, one for each look-up. 127.0.0.2 counts as public."""
    names: dict[str, list[str]] = {"public.test": ["127.0.0.2"] * 99}
    getaddrinfo, address_problem = socket.getaddrinfo, addresses.address_problem

    def resolve(host: str, *arguments: Any) -> Any:
        return getaddrinfo(names[host].pop(0) if host in names else host, *arguments)

    def problem(text: str, *, allow_private: bool) -> str:
        return "" if text == "127.0.0.2" else address_problem(text, allow_private=allow_private)

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    monkeypatch.setattr("mmfeat.media.addresses.address_problem", problem)
    return names


def get_reason(url: str, **settings: Any) -> str:
    with pytest.raises(RecordError) as caught:
        make_client(**{"allow_private": False, "retries": 2, **settings}).get(url)
    return caught.value.reason


def test_names_of_allowed_addresses_are_fetched(
    other_server: Server, public_names: dict[str, list[str]]
) -> None:
    url = f"http://public.test:{other_server.server_port}/ok"
    assert make_client(allow_private=False).get(url) == BODY
    [(_, headers)] = other_server.requests
    assert headers["Host"] == f"public.test:{other_server.server_port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
def test_loopback_is_refused_without_a_connection(server: Server, host: str) -> None:
    assert get_reason(f"http://{host}:{server.server_port}/ok") == "forbidden_address"
    assert server.connections == 0


def test_redirects_to_loopback_are_refused_without_a_connection(
    server: Server, other_server: Server, public_names: dict[str, list[str]]
) -> None:
    public_names["private.test"] = ["127.0.0.1"] * 99
    for host in ("127.0.0.1", "private.test", "[::1]"):
        target = quote(f"http://{host}:{server.server_port}/ok", safe="")
        url = f"http://public.test:{other_server.server_port}/redirect/{target}"
        assert get_reason(url) == "forbidden_address"
    assert (server.connections, len(other_server.requests)) == (0, 3)
    assert make_client().get(url.replace("%5B%3A%3A1%5D", "127.0.0.1")) == BODY


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"])
def test_link_local_is_refused_even_with_private_addresses(
    other_server: Server, public_names: dict[str, list[str]], host: str
) -> None:
    assert get_reason(f"http://{host}/latest", allow_private=True) == "forbidden_address"
    target = quote(f"http://{host}/latest", safe="")
    url = f"http://public.test:{other_server.server_port}/redirect/{target}"
    assert get_reason(url, allow_private=True) == "forbidden_address"


def test_a_name_whose_address_changes_is_checked_at_every_connection(
    server: Server, other_server: Server, public_names: dict[str, list[str]]
) -> None:
    public_names["rebind.test"] = ["127.0.0.2", "127.0.0.1"]
    port = other_server.server_port
    again = quote(f"http://rebind.test:{server.server_port}/ok", safe="")
    assert get_reason(f"http://rebind.test:{port}/redirect/{again}") == "forbidden_address"
    assert (server.connections, len(other_server.requests)) == (0, 1)
    assert public_names["rebind.test"] == []


@pytest.mark.parametrize("scheme", ["file", "ftp", "gopher", "data"])
def test_redirects_to_other_schemes_are_refused(
    server: Server, get_error: GetError, scheme: str
) -> None:
    target = quote(f"{scheme}://localhost/etc/passwd", safe="")
    assert get_error(f"redirect/{target}").reason == "unreadable"
    assert len(server.requests) == 1


def test_proxies_of_the_environment_are_not_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert make_client().get(server.url("ok")) == BODY
