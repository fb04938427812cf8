import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import quote

import pytest

from mmfeat import __version__
from mmfeat.errors import RecordError
from tests.mmfeat.media.http.web_server import BODY, GetError, Server, make_client


def test_get_returns_the_body_and_sends_headers(server: Server) -> None:
    assert make_client().get(server.url("ok")) == BODY
    [(_, headers)] = server.requests
    assert headers["User-Agent"] == f"mmfeat/{__version__}"
    assert headers["Accept-Encoding"] == "identity"


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
