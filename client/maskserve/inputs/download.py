"""Images from the web, fetched by the client: the server never follows a URL."""

from __future__ import annotations

import re
import threading
import time
import urllib.error
import urllib.request
from http.client import BadStatusLine, HTTPException, HTTPMessage, RemoteDisconnected
from typing import IO

from maskserve.errors import ImageTooLarge, InputError
from maskserve.inputs.urls import prepared, same_host, shown
from maskserve.timed_http import Budget, Redirects, opener

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
        """Return the bytes.

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
    """Return what is at an http or https `url`, within limits of time and size.

    Raises:
        InputError: it cannot be fetched.
        ImageTooLarge: it is larger than 100 MiB.
    """
    deadline = time.monotonic() + _MAX_SECONDS
    # a little more than the limit, so that the error is the one that names it
    director = opener(Budget(deadline, _MAX_BYTES + (1 << 20), _TIMEOUT), _Redirects())
    name = shown(url)
    try:
        return _download(director, _request(url), name, deadline)
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(f"{name} cannot be fetched: {error.code} {_one_line(error.reason)}") from None
    except BadStatusLine as error:
        closed = isinstance(error, RemoteDisconnected)
        reason = str(error) if closed else "what answers there does not speak HTTP"
        raise InputError(f"{name} cannot be fetched: {reason}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise InputError(f"{name} cannot be fetched: {getattr(error, 'reason', error)}") from None


def _one_line(reason: object) -> str:
    """Return Python's words for a failed redirection on one line, and without the password of where it goes to."""
    words = re.sub(r"'(\w+://[^']*)'", lambda found: f"'{shown(found[1])}'", str(reason))
    return " ".join(words.replace("\n", " ").split())


def _request(url: str) -> urllib.request.Request:
    address, authorization = prepared(url)
    request = urllib.request.Request(address, headers={"User-Agent": "maskserve"})
    if authorization is not None:
        request.add_unredirected_header("Authorization", authorization)
    return request


class _Redirects(Redirects):
    """Follows redirects; the password goes along to the same host only."""

    def redirect_request(  # noqa: PLR0917 - as the base class has it
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        address, authorization = prepared(newurl)
        follower = super().redirect_request(req, fp, 302 if code == 308 else code, msg, headers, address)
        if authorization is None and same_host(req.full_url, address):
            authorization = req.get_header("Authorization")
        if follower is not None and authorization is not None:
            follower.add_unredirected_header("Authorization", authorization)
        return follower


def _download(
    director: urllib.request.OpenerDirector, request: urllib.request.Request, name: str, deadline: float
) -> bytes:
    content = bytearray()
    with director.open(request, timeout=_TIMEOUT) as response:
        while chunk := response.read1(_CHUNK):
            content += chunk
            if len(content) > _MAX_BYTES:
                raise ImageTooLarge(f"{name} is larger than {_MAX_BYTES >> 20} MiB")
            if time.monotonic() > deadline:
                raise InputError(f"{name} cannot be fetched within {_MAX_SECONDS:g} s")
    return bytes(content)
