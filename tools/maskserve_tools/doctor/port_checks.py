"""Whether the ports of a server are free, and on which addresses a server listens."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_tools.doctor.finding import Finding, ok, warning
from maskserve_tools.embedded.ports import choose_ports

USUAL = {"http": 8000, "grpc": 8001, "metrics": 8002}
_LISTENING = "0A"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_ports(ports: dict[str, int] = USUAL) -> list[Finding]:
    """Check whether a server could listen where servers usually do."""
    taken = [finding for name, port in ports.items() if (finding := _taken(name, port)) is not None]
    return taken or [ok(f"ports {', '.join(map(str, ports.values()))} are free")]


def _taken(name: str, port: int) -> Finding | None:
    wanted: dict[str, int | None] = {"http": None, "grpc": None, "metrics": None, name: port}
    try:
        choose_ports("0.0.0.0", **wanted)
    except ToolError as error:
        why = "a server that is told to listen there does not start"
        return warning(error.message, why, f"stop the other program, or give another --{name}-port")
    return None


def listening_addresses(port: int, proc: Path = Path("/proc/net")) -> set[Address]:
    """Return the addresses of this machine on which somebody listens at `port`."""
    return {address for line in _lines(proc) if (address := _listener(line, port)) is not None}


def _lines(proc: Path) -> Iterable[list[str]]:
    for name in ("tcp", "tcp6"):
        try:
            yield from (line.split() for line in (proc / name).read_text(encoding="utf-8").splitlines()[1:])
        except OSError:  # a kernel without IPv6 has no such file
            continue


def _listener(fields: list[str], port: int) -> Address | None:
    local, state = fields[1], fields[3]
    digits, _, number = local.rpartition(":")
    if state != _LISTENING or int(number, 16) != port:
        return None
    # The kernel prints an address as words in its own byte order, which is little-endian where Triton runs.
    words = [bytes.fromhex(digits[start : start + 8])[::-1] for start in range(0, len(digits), 8)]
    address = ipaddress.ip_address(b"".join(words))
    # An IPv4 address on a socket of IPv6, as gRPC binds it.
    return getattr(address, "ipv4_mapped", None) or address
