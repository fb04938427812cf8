import socket

import pytest

from mmfeat.errors import RecordError
from mmfeat.media.http.addresses import address_problem, resolve_host

PUBLIC = ("8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")
NOT_PUBLIC = {
    "127.0.0.1": "loopback",
    "127.8.9.10": "loopback",
    "::1": "loopback",
    "::ffff:127.0.0.1": "loopback",
    "::127.0.0.1": "loopback",
    "64:ff9b::7f00:1": "loopback",
    "2002:7f00:1::": "loopback",
    "10.1.2.3": "private",
    "172.16.0.1": "private",
    "192.168.0.1": "private",
    "::ffff:10.0.0.1": "private",
    "fd12:3456::1": "private",
    "0.0.0.0": "private",
    "::": "private",
    "192.0.2.1": "private",
    "255.255.255.255": "private",
    "240.0.0.1": "private",
    "100.64.0.1": "reserved",
    "fec0::1": "reserved",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "ff02::1": "multicast",
    "ff0e::1": "multicast",
}
NEVER = (
    "169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::", "fe80::1", "fe80::1%2", "febf::1",
    "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "::ffff:100.100.100.200",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address):
    assert address_problem(address) == ""


@pytest.mark.parametrize(("address", "kind"), NOT_PUBLIC.items())
def test_other_addresses_need_a_flag(address, kind):
    assert f"is a {kind} address" in address_problem(address)
    assert address_problem(address, allow_private=True) == ""


@pytest.mark.parametrize("address", NEVER)
def test_link_local_and_metadata_addresses_are_never_allowed(address):
    for allow_private in (False, True):
        assert "never allowed" in address_problem(address, allow_private=allow_private)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "2130706433", "0x7f.1", "0177.0.0.1", "localhost"]
)
def test_spellings_of_loopback_are_resolved_first(host):
    with pytest.raises(RecordError, match="forbidden_address"):
        resolve_host(host, 80, socket.AF_UNSPEC, allow_private=False)
    assert resolve_host(host, 80, socket.AF_UNSPEC, allow_private=True)


def test_of_several_addresses_only_the_allowed_ones_remain(monkeypatch):
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
        for address in ("10.0.0.1", "8.8.8.8", "169.254.169.254", "8.8.8.8", "1.1.1.1")
    ]
    monkeypatch.setattr("socket.getaddrinfo", lambda *arguments: found)
    assert resolve_host("h", 80, 0, allow_private=False) == ["8.8.8.8", "1.1.1.1"]
    assert resolve_host("h", 80, 0, allow_private=True) == ["10.0.0.1", "8.8.8.8", "1.1.1.1"]
