"""Bounds of connections: the size of a head, the time for each part of a request, the number of connections."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskserve.errors import InvalidParameter

if TYPE_CHECKING:
    from maskserve_gateway.settings import Settings

_MOST_DESCRIPTORS = 65_536
_SPARE_DESCRIPTORS = 64  # the listener, the event loop, logs, files of the page, pipes to worker processes
_LEAST_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of the connections of one worker process.

    Attributes:
        connections: how many there are at most.
        head_bytes: of a request line and its headers together; also of trailers, and of what else frames a body.
        headers: how many headers a request may have.
        pipelined: requests that may wait on a connection for the answer to the one before.
        head_seconds: from the first byte of a head, or from the connection, to the end of the head.
        body_seconds: from the end of the head to the end of the body.
        answer_seconds: how long the client may take to read an answer.
        linger_seconds: how long the rest of a request is still read, and thrown away, after its answer or refusal.
    """

    connections: int = 1024
    head_bytes: int = 32 << 10
    headers: int = 100
    pipelined: int = 8
    head_seconds: float = 10.0
    body_seconds: float = 65.0
    answer_seconds: float = 60.0
    linger_seconds: float = 2.0


def bounds_of(settings: Settings) -> Bounds:
    """Return the bounds for a worker process, with as many connections as its file descriptors allow.

    Raises:
        InvalidParameter: the limit of file descriptors is too low for a gateway.
    """
    per_server = settings.max_concurrent + 2
    reserve = _SPARE_DESCRIPTORS + per_server * len(settings.urls) + settings.max_concurrent
    descriptors = _raise_descriptors(settings.max_connections + reserve)
    if descriptors - reserve < _LEAST_CONNECTIONS:
        raise InvalidParameter(
            f"the limit of {descriptors} file descriptors is too low: with max_concurrent={settings.max_concurrent} "
            f"the gateway needs {reserve + _LEAST_CONNECTIONS} (ulimit -n)"
        )
    return Bounds(
        connections=min(settings.max_connections, descriptors - reserve),
        head_seconds=settings.head_seconds,
        body_seconds=settings.timeout + 5.0,  # the application's own deadline, which says more, comes first
        answer_seconds=settings.timeout,
    )


def _raise_descriptors(wanted: int) -> int:
    """Raise this process's limit of file descriptors to `wanted` where that is allowed; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = _MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    hard = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    if soft < wanted and soft < hard:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return soft
