"""Pictures from the web, fetched by the client: the server never follows a URL."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException

from maskserve.errors import ImageTooLarge, InputError

_TIMEOUT = 15.0
_MAX_SECONDS = 120.0
_MAX_BYTES = 100 << 20
_CHUNK = 1 << 16


class Download:
    """The content behind a URL, fetched once, when it is first asked for."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._content: bytes | None = None
        self._lock = threading.Lock()

    def __call__(self) -> bytes:
        """The bytes.

        Raises:
            InputError: they cannot be fetched, with the reason.
        """
        with self._lock:
            if self._content is None:
                self._content = fetch(self._url)
            return self._content

    def __getstate__(self) -> tuple[str, bytes | None]:
        return self._url, self._content

    def __setstate__(self, state: tuple[str, bytes | None]) -> None:
        self._url, self._content = state
        self._lock = threading.Lock()


def fetch(url: str) -> bytes:
    """What is at an http or https `url`, within limits of time and size.

    Raises:
        InputError: it cannot be fetched.
        ImageTooLarge: it is larger than 100 MiB.
    """
    opener = urllib.request.OpenerDirector()  # not build_opener: redirects to file: or ftp: must lead nowhere
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(url, headers={"User-Agent": "maskserve"})
    try:
        return _download(opener, request)
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(f"{url} cannot be fetched: {error.code} {error.reason}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise InputError(f"{url} cannot be fetched: {getattr(error, 'reason', error)}") from None


def _download(opener: urllib.request.OpenerDirector, request: urllib.request.Request) -> bytes:
    deadline = time.monotonic() + _MAX_SECONDS
    content = bytearray()
    with opener.open(request, timeout=_TIMEOUT) as response:
        while chunk := response.read1(_CHUNK):
            content += chunk
            if len(content) > _MAX_BYTES:
                raise ImageTooLarge(f"{request.full_url} is larger than {_MAX_BYTES >> 20} MiB")
            if time.monotonic() > deadline:
                raise InputError(f"{request.full_url} cannot be fetched within {_MAX_SECONDS:g} s")
    return bytes(content)
