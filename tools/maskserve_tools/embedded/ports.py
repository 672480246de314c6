"""The three ports of a server: given ones are checked before anything starts, the others are chosen."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from dataclasses import dataclass

from maskserve.errors import ToolError

_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # of the addresses that mean all


class PortTaken(ToolError):
    """A port was free when it was looked at and taken when Triton wanted it."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that a server listens on."""

    http: int
    grpc: int
    metrics: int


def resolve_host(host: str) -> str:
    """Return the address to bind to: an IPv4 one where there is one, else an IPv6 one.

    Args:
        host: a name or an address; an IPv6 address may be in brackets, as in URLs.

    Raises:
        ToolError: `host` has none.
    """
    plain = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(plain, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ToolError(f"--host {host} is not an address or a name that has one: {error}") from error
    addresses = sorted(found, key=lambda info: info[0] != socket.AF_INET)
    return str(addresses[0][4][0])


def is_loopback(address: str) -> bool:
    """Return whether only programs on this machine can reach `address`."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def reachable(address: str) -> str:
    """Return the address at which a program on this machine finds a server bound to `address`."""
    return _LOOPBACKS.get(address, address)


def in_url(address: str) -> str:
    """Return an address as URLs have it: an IPv6 one in brackets."""
    return f"[{address}]" if ":" in address else address


def choose_ports(address: str, *, http: int | None, grpc: int | None, metrics: int | None) -> Ports:
    """Check the given ports and choose a free one for each None or 0.

    Somebody else may take a chosen port before the server binds it; the caller then tries again.

    Raises:
        ToolError: a given port is in use, forbidden or given twice.
    """
    wanted = {"http": http or 0, "grpc": grpc or 0, "metrics": metrics or 0}
    _refuse_duplicates(wanted)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    chosen: dict[str, int] = {}
    with contextlib.ExitStack() as held:  # all at once, so that the system cannot hand out one port twice
        for name, port in sorted(wanted.items(), key=lambda item: item[1] == 0):
            holder = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
            _bind(holder, address, port, flag=f"--{name}-port")
            chosen[name] = holder.getsockname()[1]
    return Ports(**chosen)


def check_port(address: str, port: int, *, flag: str) -> None:
    """Make sure that a port is free.

    Raises:
        ToolError: it is in use or forbidden.
    """
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as holder:
        _bind(holder, address, port, flag=flag)


def _refuse_duplicates(wanted: dict[str, int]) -> None:
    given = [port for port in wanted.values() if port]
    for port in given:
        if given.count(port) > 1:
            flags = " and ".join(f"--{name}-port" for name, value in wanted.items() if value == port)
            raise ToolError(f"{flags} are both {port}: each needs a port of its own")


def _bind(holder: socket.socket, address: str, port: int, *, flag: str) -> None:
    if port:  # as Triton does it: connections of an earlier server that linger do not count
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((address, port))
        holder.listen(1)  # two sockets may share a port until one of them listens
    except OverflowError as error:
        raise ToolError(f"{flag} {port} is not a port: 1 to 65535, or 0 for a free one") from error
    except OSError as error:
        raise ToolError(_refusal(error, address, port, flag)) from error


def _refusal(error: OSError, address: str, port: int, flag: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use on {address}: give another with {flag}, or 0 for a free one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {address} is not an address of this machine"
    return f"cannot listen on {in_url(address)}:{port} ({flag}): {error.strerror}"
