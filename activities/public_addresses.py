"""Which addresses of a network are public: what is delivered at a caller's wish must not reach what is behind."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a host's port, best first. Raises `OSError` where there are none."""

_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The only addresses of IPv6 that lead anywhere; outside are the mapped and the NAT64 ones, which hide another."""

# What the `ipaddress` module of some Python versions calls global.
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",  # IETF protocol assignments
            "192.88.99.0/24",  # 6to4 relays
            "2001::/23",  # IETF protocol assignments, Teredo among them
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    )
)


def is_public(address: str) -> bool:
    """Tell whether an IP address is reachable from the whole internet and stands for itself.

    IANA special-purpose address registries: loopback, private, link-local, shared (CGNAT), multicast, reserved and
    unspecified addresses are not; neither are IPv6 addresses behind which another one is hidden (IPv4-mapped, NAT64,
    6to4, Teredo).
    """
    parsed = ipaddress.ip_address(address)
    if parsed.version == 6 and parsed not in _IPV6_UNICAST:
        return False
    if not parsed.is_global or parsed.is_multicast or parsed.is_reserved:
        return False
    return not any(parsed in network for network in _NOT_PUBLIC if network.version == parsed.version)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a host; one that is an address already is its own."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))
