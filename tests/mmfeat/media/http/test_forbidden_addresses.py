"""Which servers are connected to."""

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from mmfeat.errors import RecordError
from mmfeat.media.http import addresses
from tests.mmfeat.media.http.web_server import BODY, Server, make_client, serve


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
    monkeypatch.setattr("mmfeat.media.http.addresses.address_problem", problem)
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


def test_proxies_of_the_environment_are_not_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert make_client().get(server.url("ok")) == BODY
