"""Where a server is and how to connect to it: the URL's part of a transport."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from maskserve.errors import InvalidParameter
from maskserve.inputs.urls import port_of, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORTS = {"grpc": 8001, "grpcs": 8001, "http": 8000, "https": 443}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


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
    """Return the endpoint that `url` names, such as ``grpc://localhost:8001`` or ``https://example.org/models``.

    Raises:
        InvalidParameter: it is no such URL.
    """
    example = "write it like grpc://localhost:8001 or http://localhost:8000"
    if not isinstance(url, str):
        raise InvalidParameter(f"url={url!r} is not the URL of a server; {example}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, port_of(parts)
    except ValueError as error:
        raise InvalidParameter(f"{shown(url)!r} is not the URL of a server ({error}); {example}") from None
    if parts.username is not None or parts.password is not None:
        raise InvalidParameter(f"{shown(url)!r} has a user or password, which go into headers=; {example}")
    if parts.scheme not in _PORTS or not host or parts.query or parts.fragment:
        raise InvalidParameter(f"{shown(url)!r} is not the URL of a server; {example}")
    path = parts.path.rstrip("/")
    if path and parts.scheme.startswith("grpc"):
        raise InvalidParameter(f"{shown(url)!r} has a path, which gRPC does not know; {example}")
    return Endpoint(parts.scheme, host, port or _PORTS[parts.scheme], path)
