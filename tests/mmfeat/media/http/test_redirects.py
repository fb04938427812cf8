from urllib.parse import quote

import pytest

from tests.mmfeat.media.http.web_server import BODY, GetError, Server, make_client


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


@pytest.mark.parametrize("scheme", ["file", "ftp", "gopher", "data"])
def test_redirects_to_other_schemes_are_refused(
    server: Server, get_error: GetError, scheme: str
) -> None:
    target = quote(f"{scheme}://localhost/etc/passwd", safe="")
    assert get_error(f"redirect/{target}").reason == "unreadable"
    assert len(server.requests) == 1
