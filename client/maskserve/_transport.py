"""The way to a server: what a transport does, and which one a URL asks for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from maskserve.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from maskserve._failures import ServedModel
    from maskserve._shared_memory import RegionTransport
    from maskserve._wire import ImageRequest, Tensor

_PORTS = {"grpc": 8001, "grpcs": 8001, "http": 8000, "https": 443}
_CLEANING_TIMEOUT = 1.0
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Transport(Protocol):
    """A server, however it is reached. Threads may share it; a forked process may go on using it.

    Every method raises `ServerError`s and, for what the server says of a request, `InputError`s.
    """

    @property
    def url(self) -> str:
        """Where the server is, for messages."""

    def infer(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
        """The output tensors for one image."""

    def model_config(self, model: str) -> Mapping[str, Any]:
        """The model's configuration, as JSON has it."""

    def models(self) -> Sequence[ServedModel]:
        """The server's repository index."""

    def close(self) -> None:
        """Close the connections. The next call opens them again."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to connect.

    Attributes:
        scheme: grpc, grpcs, http or https.
        host: name or address.
        port: TCP port.
        path: prefix of every path, for servers behind a reverse proxy (HTTP only).
        timeout: seconds that one request may take.
        connect_timeout: seconds until a server that does not answer counts as not there.
        headers: sent with every request; gRPC calls them metadata.
        ca_file: certificate authorities to trust for grpcs and https; None for the system's.
        shared_memory: whether large images are handed over in shared memory where the server can have them that way;
            None for a server on a loopback address only.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    timeout: float = 60.0
    connect_timeout: float = 5.0
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None
    shared_memory: bool | None = None

    @property
    def url(self) -> str:
        """The address, for messages."""
        return f"{self.scheme}://{self.address}{self.path}"

    @property
    def address(self) -> str:
        """``host:port``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_url(url: str) -> Endpoint:
    """The endpoint that `url` names, such as ``grpc://localhost:8001`` or ``https://example.org/models``.

    Raises:
        InvalidParameter: it is no such URL.
    """
    example = "write it like grpc://localhost:8001 or http://localhost:8000"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidParameter(f"{url!r} is not the URL of a server ({error}); {example}") from None
    if parts.scheme not in _PORTS or not host or parts.username or parts.query or parts.fragment:
        raise InvalidParameter(f"{url!r} is not the URL of a server; {example}")
    path = parts.path.rstrip("/")
    if path and parts.scheme.startswith("grpc"):
        raise InvalidParameter(f"{url!r} has a path, which gRPC does not know; {example}")
    return Endpoint(parts.scheme, host, port or _PORTS[parts.scheme], path)


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
