"""Which transport an endpoint asks for."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from maskserve.errors import InvalidParameter
from maskserve.transport.endpoint import LOOPBACK, Endpoint, parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskserve.transport.base import Transport
    from maskserve.transport.shared_memory import RegionTransport

_CLEANING_TIMEOUT = 1.0


def open_transport(server: str | Endpoint) -> Transport:
    """Return the transport to a server. It connects when it is first used.

    Args:
        server: its URL, such as ``grpc://localhost:8001``, or an `Endpoint`, which says more: time limits, headers,
            certificate authorities.

    Raises:
        InvalidParameter: the URL is none, or what should be a file of certificate authorities is none.
    """
    endpoint = server if isinstance(server, Endpoint) else parse_url(server)
    ca_file = endpoint.ca_file
    # an empty path would quietly mean the system's authorities
    if ca_file is not None and (not isinstance(ca_file, str | os.PathLike) or not os.fspath(ca_file)):
        raise InvalidParameter(f"ca_file={ca_file!r} is not the path of a file")
    kind, worth_sharing = _kind(endpoint.scheme)
    shared = endpoint.host in LOOPBACK if endpoint.shared_memory is None else endpoint.shared_memory
    if not shared:
        return kind(endpoint)
    from maskserve.transport.shared_memory import SharedMemoryTransport

    cleaner = replace(endpoint, timeout=min(endpoint.timeout, _CLEANING_TIMEOUT))
    return SharedMemoryTransport(kind(endpoint), worth_sharing, partial(kind, cleaner))


def _kind(scheme: str) -> tuple[Callable[[Endpoint], RegionTransport], int]:
    """Return the transport for a scheme, and the bytes from which on shared memory is faster (docs/benchmarks.md)."""
    if scheme.startswith("grpc"):
        from maskserve.transport.grpc import GrpcTransport

        return GrpcTransport, 2 << 20
    from maskserve.transport.http import HttpTransport

    return HttpTransport, 12 << 20
