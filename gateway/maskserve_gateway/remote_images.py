"""Images from the web: from hosts that were allowed, at addresses that are public, within limits of time and size."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from maskserve.errors import ImageTooLarge, InputError
from maskserve_gateway.addresses import is_public

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohappyeyeballs import AddrInfoType

_MAX_REDIRECTS = 3
_CHUNK = 1 << 16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SECONDS = 15.0


async def _welcome(size: int) -> None:
    """Take any number of bytes."""


class AllowedHosts:
    """The hosts that images are fetched from.

    Args:
        patterns: "example.org", "example.org:8443", "*.example.org" for every host below it, or "*" for every host.
            Without a port, the scheme's own is meant.
    """

    def __init__(self, patterns: str | Sequence[str]) -> None:
        patterns = (patterns,) if isinstance(patterns, str) else patterns  # not its letters, of which "*" is a pattern
        self._patterns = [pattern.strip().lower().rstrip(".") for pattern in patterns]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def allow(self, url: URL) -> bool:
        """Return whether `url` may be fetched, as far as its text says."""
        host = (url.raw_host or "").lower().rstrip(".")
        if url.scheme not in ("http", "https") or not host or url.raw_user is not None or url.raw_password is not None:
            return False
        port = "" if url.is_default_port() else f":{url.port}"
        return any(_matches(host, port, pattern) for pattern in self._patterns)


def _matches(host: str, port: str, pattern: str) -> bool:
    if pattern == "*":
        return not port
    return (host + port).endswith(pattern[1:]) if pattern.startswith("*.") else host + port == pattern


class ImageFetcher:
    """Fetches images.

    The address is checked where the socket to it is made, so that what was checked is what is connected to, whatever
    a name means a moment later, however an address is written, and wherever a redirect leads.

    Args:
        hosts: where from.
        max_bytes: of an image.
        permitted: whether an address may be connected to.
        seconds: for one image, redirects and all.
    """

    def __init__(
        self,
        hosts: AllowedHosts,
        *,
        max_bytes: int,
        permitted: Callable[[str], bool] = is_public,
        seconds: float = _SECONDS,
    ) -> None:
        self._hosts = hosts
        self._max_bytes = max_bytes
        self._permitted = permitted
        self._seconds = seconds

    async def fetch(self, text: str, arrives: Callable[[int], Awaitable[None]] = _welcome) -> bytes:
        """Return the file that is at a URL.

        Args:
            text: the URL.
            arrives: is told how many bytes come in, before the next ones are read.

        Raises:
            InputError: it may not or cannot be fetched. Why a connection failed is not said: that would tell who asks
                what there is on networks that only the gateway can see.
            ImageTooLarge: it has too many bytes.
        """
        if not self._hosts:
            raise InputError("image URLs are switched off here; send the image's content in Base64")
        try:
            return await asyncio.wait_for(self._follow(URL(text), arrives), self._seconds)
        except (aiohttp.ClientError, OSError, ValueError, asyncio.TimeoutError):
            raise InputError("the image's URL cannot be fetched") from None

    async def _follow(self, url: URL, arrives: Callable[[int], Awaitable[None]]) -> bytes:
        connector = aiohttp.TCPConnector(
            socket_factory=self._open_socket, resolver=aiohttp.ThreadedResolver(), use_dns_cache=False, force_close=True
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "maskserve", "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,  # a proxy would connect to addresses that nobody has checked
        ) as session:
            for _ in range(_MAX_REDIRECTS + 1):
                if not self._hosts.allow(url):
                    raise InputError("images are not fetched from this address; it is not on the list of allowed hosts")
                async with session.get(url, allow_redirects=False) as response:
                    if response.status not in _REDIRECTS:
                        return await self._read(response, arrives)
                    url = url.join(URL(response.headers.get("Location", "")))
        raise InputError("the image's URL is redirected too often")

    async def _read(self, response: aiohttp.ClientResponse, arrives: Callable[[int], Awaitable[None]]) -> bytes:
        if response.status != 200:
            raise InputError(f"the image's URL answers with status {response.status}")
        content = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            content += chunk
            await arrives(len(chunk))
            if len(content) > self._max_bytes:
                raise ImageTooLarge(f"the image has more than {self._max_bytes} bytes")
        return bytes(content)

    def _open_socket(self, where: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = where
        if not self._permitted(str(address[0])):
            raise ConnectionRefusedError("not a public address")
        opened = socket.socket(family, kind, protocol)
        opened.setblocking(False)
        return opened
