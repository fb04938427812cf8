"""What is tried again, how often, how long, and what becomes of it."""

import socket
import time
from typing import Any

import pytest

from mmfeat.errors import RecordError
from tests.mmfeat.media.http.web_server import BODY, GetError, Server, make_client


@pytest.mark.parametrize("path", ["missing", "gone"])
def test_404_and_410_are_not_found_without_retry(
    server: Server, get_error: GetError, path: str
) -> None:
    assert get_error(path).reason == "not_found"
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


def test_other_status_is_unreadable(server: Server, get_error: GetError) -> None:
    error = get_error("forbidden")
    assert (error.reason, error.detail) == ("unreadable", f"{server.url('forbidden')}: HTTP 403")
    assert len(server.requests) == 1


def test_unknown_host_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    with pytest.raises(RecordError) as caught:
        make_client(retries=1).get("http://pictures.example/1.png")
    assert caught.value.reason == "unavailable"
    assert "name resolution" in caught.value.detail


def test_refused_connection_is_unavailable() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        with pytest.raises(RecordError) as caught:
            make_client(retries=2).get(url)
    assert caught.value.reason == "unavailable"
    assert "refused" in caught.value.detail
    assert caught.value.detail.endswith("after 2 retries")


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
