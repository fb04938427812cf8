"""Which addresses of web servers may be connected to, so that no URL reaches internal services."""

import ipaddress
import socket
from collections.abc import Sequence

from mmfeat.errors import RecordError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_CLOUD_METADATA = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "fd00:ec2::254"))
)
"""Services that hand out credentials of a cloud machine, outside of the link-local range."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")


def resolve_host(host: str, port: int, family: int, *, allow_private: bool) -> Sequence[str]:
    """Return the addresses of a host that may be connected to. Connect to these, not to the name.

    A second look-up could give other addresses (DNS rebinding).

    Args:
        host: name or address.
        port: port of the connection.
        family: family of addresses, such as `socket.AF_INET`.
        allow_private: whether private and loopback addresses are allowed.

    Raises:
        RecordError: `forbidden_address`, if none of its addresses is allowed.
        OSError: the name cannot be resolved.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, family, socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    problems = {text: address_problem(text, allow_private=allow_private) for text in addresses}
    allowed = [text for text in addresses if not problems[text]]
    if not allowed:
        text = addresses[0]
        shown = text if text == host.strip("[]") else f"{host} is {text}, and {text}"
        raise RecordError("forbidden_address", f"{shown} {problems[text]}")
    return allowed


def address_problem(text: str, *, allow_private: bool = False) -> str:
    """Return why an address must not be connected to; empty if it may be.

    Public addresses are allowed. Private, loopback, shared, reserved and multicast addresses are
    so with `allow_private`. Link-local ones, where clouds serve credentials, never are.

    Args:
        text: an IPv4 or IPv6 address.
        allow_private: whether addresses that are not public are allowed.
    """
    address = _embedded_ipv4(ipaddress.ip_address(text))
    if address.is_link_local:
        return "is a link-local address, which is never allowed"
    if address in _CLOUD_METADATA:
        return "is a metadata service of a cloud, which is never allowed"
    if allow_private or _is_public(address):
        return ""
    kind = next(
        kind
        for kind, applies in (
            ("loopback", address.is_loopback),
            ("multicast", address.is_multicast),
            ("private", address.is_private),
            ("reserved", True),
        )
        if applies
    )
    return f"is a {kind} address; --allow-private permits it"


def _is_public(address: _Address) -> bool:
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (site_local or address.is_multicast or address.is_reserved)


def _embedded_ipv4(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 0xFFFF):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
