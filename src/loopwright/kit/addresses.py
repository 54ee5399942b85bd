"""What an IP address is: on the public internet, inside a house, or where a cloud hands out its credentials."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Final

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The IP addresses of a host for a port, best first; raises OSError when nobody knows it."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_TUNNELS: Final = tuple(ipaddress.ip_network(net) for net in ("64:ff9b::/96", "2002::/16", "2001::/32"))
"""IPv6 addresses that carry an IPv4 address inside."""
_METADATA: Final = frozenset(ipaddress.ip_address(each) for each in ("fd00:ec2::254", "100.100.100.200"))
"""Of clouds that do not answer at a link-local address: AWS by IPv6, Alibaba."""


async def resolved(host: str, port: int) -> list[str]:
    """A `Resolve` that asks the system."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


def is_address(host: str) -> bool:
    """Whether a host is written as an IP address."""
    return _read(host) is not None


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet: no private, loop-back, link-local or tunnelled one."""
    ip = _read(address)
    if ip is None or any(ip in net for net in _TUNNELS):
        return False
    return ip.is_global and not ip.is_multicast


def is_metadata(address: str) -> bool:
    """Whether an IP address is link-local, or else one at which a cloud tells a machine its credentials."""
    ip = _read(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip in _NAT64:
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip is not None and (ip.is_link_local or ip in _METADATA)


def _read(address: str) -> _Address | None:
    """An address as written, without its zone; one of IPv4 in the clothes of IPv6 is one of IPv4."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip
