"""Who may call: the hosts that a gateway answers for, and the web pages that may use it.

A browser lets any page send requests to a gateway on its user's machine or network. Such a request names the page in
`Origin`. A page whose own name leads to the gateway's address (DNS rebinding) names itself in `Host`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from maskserve.errors import InvalidParameter
from maskserve_gateway.access_log import exchange_of_scope
from maskserve_gateway.envelope import answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from maskserve_gateway.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Names that nobody can have on the public Internet, so that no page can have them either.
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".svc")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", re.ASCII)
_PORTS = {"http": 80, "https": 443}


class Callers:
    """The hosts and origins that are let in.

    Args:
        listen: the address that the gateway listens on.
        hosts: further names, such as "images.example.org"; "*.example.org" is every name below it, "*" is every name.
        origins: pages of other hosts that may use it, such as "https://example.org"; "*" is every page.

    Raises:
        InvalidParameter: one of them is neither a host's name nor an origin.
    """

    def __init__(self, listen: str, hosts: Sequence[str] = (), origins: Sequence[str] = ()) -> None:
        address = _address(listen)
        self._local = listen == "localhost" or (address is not None and address.is_loopback)
        self._names = {"localhost", listen.lower(), socket.gethostname().lower()}
        self._patterns = [_checked_pattern(host) for host in hosts]
        self._origins = {_checked_origin(origin) for origin in origins}

    def knows_host(self, header: str) -> bool:
        """Return whether a `Host` header names the gateway."""
        host = _split(header)[0].removesuffix(".")
        address = _address(host)
        if address is not None:
            return address.is_loopback or not self._local or host in self._names or self._is_listed(host)
        if not _NAME.fullmatch(host):
            return False
        if host in self._names or host.endswith(".localhost") or self._is_listed(host):
            return True
        return not self._local and ("." not in host or host.endswith(_PRIVATE_SUFFIXES))

    def knows_origin(self, origin: str, host: str) -> bool:
        """Return whether a page of `origin` may ask the gateway, which the request calls `host`."""
        if "*" in self._origins or origin.lower() in self._origins:
            return True
        try:
            parts = urlsplit(origin.lower())
            default = _PORTS[parts.scheme]
            page = (parts.hostname or "", parts.port or default)
        except (KeyError, ValueError):  # "null", an extension's, a file's
            return False
        name, port = _split(host)
        return page == (name, port or default)

    def _is_listed(self, host: str) -> bool:
        return any(
            pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))
            for pattern in self._patterns
        )


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _split(header: str) -> tuple[str, int | None]:
    """Return the host of a `Host` header, without brackets and in small letters, and the port."""
    found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:\[\]]*)(?::([0-9]{0,5}))?", header.strip().lower(), re.ASCII)
    if found is None:
        return "", None
    return found[1].strip("[]"), int(found[2]) if found[2] else None


def _checked_pattern(host: str) -> str:
    pattern = host.strip().lower().strip("[]").rstrip(".")
    name = pattern.removeprefix("*.")
    if pattern == "*" or _address(name) is not None or _NAME.fullmatch(name):
        return pattern
    raise InvalidParameter(f"allow_hosts: {host!r} is not a host: give a name without a port, such as example.org")


def _checked_origin(origin: str) -> str:
    text = origin.strip().lower().rstrip("/")
    if text in ("*", "null") or re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", text, re.ASCII):
        return text
    raise InvalidParameter(f"allow_origins: {origin!r} is not an origin: give scheme and host, as https://example.org")


class CallerCheck:
    """ASGI middleware that refuses requests for other hosts, and those of web pages that were not allowed."""

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, message = refusal
        await answer(exchange_of_scope(scope).log_id, status, message)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        hosts, origins = (_values(scope, name) for name in (b"host", b"origin"))
        if len(hosts) > 1 or len(origins) > 1 or (not hosts and scope["http_version"] != "1.0"):
            return 400, "a request has exactly one Host, and at most one Origin"
        host = hosts[0] if hosts else ""
        if hosts and not self._callers.knows_host(host):
            return 421, f"this gateway does not answer for the host {host[:100]!a}; its option --allow-host adds a name"
        # a browser's own word, behind a proxy that gives the gateway another Host than the page's
        same = _values(scope, b"sec-fetch-site") == ["same-origin"]
        if origins and not same and not self._callers.knows_origin(origins[0], host):
            words = "pages of other hosts may not use this gateway; its option --allow-origin allows one"
            return 403, words
        return None


def _values(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]


def callers_of(settings: Settings) -> Callers:
    """Return who may call a gateway with these settings.

    Raises:
        InvalidParameter: a host or an origin is none.
    """
    return Callers(settings.listen, settings.allow_hosts, settings.allow_origins)
