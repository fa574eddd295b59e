"""Tells public addresses from those that a stranger's URL must never reach.

The blocks are those of the IANA special-purpose registries
(https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry). They are written out,
since what `ipaddress` counts as global has changed between patch releases of Python, and they refuse more than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_REFUSED_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT, and Alibaba Cloud's metadata
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's platform services, inside every one of its machines
            "169.254.0.0/16",  # link-local, and most clouds' metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments, and Oracle Cloud's metadata
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
# Everything else is refused: loopback, private, link-local, multicast, IPv4-mapped and NAT64's 64:ff9b::/96 among it.
_GLOBAL_UNICAST_6 = IPv6Network("2000::/3")
_REFUSED_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo among them, which embeds an IPv4 address
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which embeds an IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)


def is_public(address: Address) -> bool:
    """Whether the address is one of a single machine on the public internet."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _REFUSED_4)
    return address in _GLOBAL_UNICAST_6 and address.is_global and not any(address in network for network in _REFUSED_6)


def may_connect(address: str, extra: Sequence[Network]) -> bool:
    """Whether a connection to this resolved address is allowed: it is public, or in a network that the operator named.

    What is not an IP address, or one of a single link (`fe80::1%eth0`), is not.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
        return False
    return is_public(parsed) or any(parsed in network for network in extra)


def read_networks(names: Sequence[str]) -> tuple[Network, ...]:
    """Reads networks such as "10.1.0.0/16"; raises ValueError for what is not one."""
    return tuple(ip_network(name) for name in names)
