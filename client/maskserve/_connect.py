"""Which transport an endpoint asks for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from maskserve._endpoint import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskserve._endpoint import Endpoint
    from maskserve._shared_memory import RegionTransport
    from maskserve._transport import Transport

_CLEANING_TIMEOUT = 1.0


def open_transport(endpoint: Endpoint) -> Transport:
    """The transport for an endpoint. It connects when it is first used."""
    kind, worth_sharing = _kind(endpoint.scheme)
    shared = endpoint.host in LOOPBACK if endpoint.shared_memory is None else endpoint.shared_memory
    if not shared:
        return kind(endpoint)
    from maskserve._shared_memory import SharedMemoryTransport

    cleaner = replace(endpoint, timeout=min(endpoint.timeout, _CLEANING_TIMEOUT))
    return SharedMemoryTransport(kind(endpoint), worth_sharing, partial(kind, cleaner))


def _kind(scheme: str) -> tuple[Callable[[Endpoint], RegionTransport], int]:
    """The transport for a scheme, and the bytes from which on shared memory is faster (docs/benchmarks.md)."""
    if scheme.startswith("grpc"):
        from maskserve._grpc import GrpcTransport

        return GrpcTransport, 2 << 20
    from maskserve._http import HttpTransport

    return HttpTransport, 12 << 20
