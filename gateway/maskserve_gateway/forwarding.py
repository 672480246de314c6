"""Where a request comes from: the other end of the connection, or what trusted proxies say."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from maskserve.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Scope

    from maskserve_gateway.callers import Address

_MOST = 20  # addresses of one request that are looked at


class Proxies:
    """The proxies whose `X-Forwarded-For` is believed.

    Args:
        networks: their addresses or networks, such as "10.0.0.0/8".

    Raises:
        InvalidParameter: one is neither.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        try:
            self._networks = [ipaddress.ip_network(network.strip(), strict=False) for network in networks]
        except ValueError as error:
            raise InvalidParameter(f"trusted_proxies: {error}") from None

    def client_of(self, scope: Scope) -> str:
        """Return the address of the client, "-" where it is not known: never anything but an address.

        Each proxy appends the address that it was asked from. So the list is read from its end, through the trusted
        ones; what stands before the first other address could have been written by anybody.
        """
        peer = _address((scope.get("client") or ("",))[0])
        if peer is None:
            return "-"
        values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if not values or not self._trusts(peer):
            return str(peer)
        forwarded = b",".join(values).decode("latin-1").split(",")
        for text in reversed(forwarded[-_MOST:]):
            address = _address(text)
            if address is None:
                break
            peer = address
            if not self._trusts(peer):
                break
        return str(peer)

    def _trusts(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """Return the address in `text`, which may have a port; without a zone, which may hold anything."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
