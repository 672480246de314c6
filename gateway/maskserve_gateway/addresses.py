"""Which addresses of the Internet an image may come from."""

from __future__ import annotations

import ipaddress

# Addresses that stand for an IPv4 address somewhere behind a translator, where nobody has looked at it.
_TRANSLATED = tuple(
    map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fec0::/10"))
)
# What older Pythons take for public.
_SPECIAL = tuple(
    map(ipaddress.IPv4Network, ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4"))
)


def is_public(address: str) -> bool:
    """Return whether `address` (IPv4 or IPv6, as a socket has it) is a host's on the public Internet.

    Private, loopback, link-local, shared (CGNAT), multicast, reserved and unspecified addresses are not, whether they
    are written as IPv4 or mapped into IPv6; nor are those of 6to4, Teredo and NAT64, which may lead to any of them.
    """
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped is not None:
            known = known.ipv4_mapped
        elif any(known in network for network in _TRANSLATED):
            return False
    if isinstance(known, ipaddress.IPv4Address) and any(known in network for network in _SPECIAL):
        return False
    return known.is_global and not (known.is_multicast or known.is_reserved or known.is_link_local)
