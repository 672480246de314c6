"""HTTP/1.1 connections with one deadline and one limit of bytes for a whole exchange.

`http.client` knows a time-out for each read only: who sends a byte now and then holds a client for ever. It also takes
any number of interim answers ("100 Continue"), and reads what follows a body without a limit.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
import urllib.request
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import ssl
    from email.message import Message

MAX_HEAD = 256 << 10  # status lines, headers and interim answers of one exchange


class TooLong(http.client.HTTPException):
    """What answers sends more than an answer may have."""


class TimedSocket:
    """A connected socket whose operations all end at one deadline, and which gives a limited number of bytes.

    Args:
        connected: the socket, plain or TLS.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._deadline = float("inf")
        self._patience: float | None = None
        self._left = 0

    def begin(self, seconds: float, max_bytes: int, patience: float | None = None) -> None:
        """Begin an exchange.

        Args:
            seconds: how long it may take in all.
            max_bytes: how many bytes may come in, head and all.
            patience: how long nothing at all may come; None for as long as `seconds`.
        """
        self._deadline = time.monotonic() + seconds
        self._patience = patience
        self._left = max_bytes

    def allow(self, max_bytes: int) -> None:
        """Let so many bytes come in from now on."""
        self._left = max_bytes

    def makefile(self, mode: str, buffering: int | None = None) -> io.BufferedReader:
        """Return a reader, as `http.client` asks for one."""
        return io.BufferedReader(_TimedReader(self, self._socket.makefile("rb", buffering=0)))

    def sendall(self, data: Any) -> None:
        """Send everything before the deadline.

        Raises:
            TimeoutError: that is not possible.
        """
        self._set_timeout()
        self._socket.sendall(data)

    def read_into(self, buffer: Any, raw: io.RawIOBase) -> int | None:
        """Read what has come in, before the deadline.

        Raises:
            TimeoutError: it is over.
            TooLong: too much has come in.
        """
        if self._left <= 0:
            raise TooLong("it sends more than an answer may have")
        self._set_timeout()
        size = raw.readinto(memoryview(buffer)[: self._left])
        self._left -= size or 0
        return size

    def _set_timeout(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left if self._patience is None else min(left, self._patience))

    def __getattr__(self, name: str) -> Any:  # close, shutdown, fileno, ...
        return getattr(self._socket, name)


class _TimedReader(io.RawIOBase):
    def __init__(self, timed: TimedSocket, raw: Any) -> None:
        super().__init__()
        self._timed = timed
        self._raw: io.RawIOBase = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        return self._timed.read_into(buffer, self._raw)

    def close(self) -> None:
        self._raw.close()
        super().close()


class TimedConnection(http.client.HTTPConnection):
    """An `HTTPConnection` over a `TimedSocket`."""

    def connect(self) -> None:
        """Connect; `timed` then has the socket."""
        super().connect()
        self.sock: Any = TimedSocket(self.sock)


class TimedTLSConnection(http.client.HTTPSConnection):
    """An `HTTPSConnection` over a `TimedSocket`."""

    def connect(self) -> None:
        """Connect and check the certificate."""
        super().connect()
        self.sock: Any = TimedSocket(self.sock)


@dataclass(frozen=True, slots=True)
class Budget:
    """What the answer to one request may take; redirects are requests of their own, with what is left of the time.

    Attributes:
        deadline: of `time.monotonic`, for all of them.
        max_bytes: of one answer.
        patience: seconds in which something has to come.
        head_seconds: for the head of one answer; None for all the time that there is.
    """

    deadline: float
    max_bytes: int
    patience: float
    head_seconds: float | None = None

    def connect(self, kind: type[http.client.HTTPConnection], *arguments: Any, **options: Any) -> Any:
        """Return a connection that keeps to this."""
        connection: Any = kind(*arguments, **options)
        connect, getresponse = connection.connect, connection.getresponse
        timed: list[TimedSocket] = []

        def connect_within() -> None:
            connect()
            timed[:] = [connection.sock]
            left = self.deadline - time.monotonic()
            timed[0].begin(left if self.head_seconds is None else min(left, self.head_seconds), MAX_HEAD, self.patience)

        def getresponse_within() -> http.client.HTTPResponse:
            response: http.client.HTTPResponse = getresponse()
            timed[0].begin(self.deadline - time.monotonic(), self.max_bytes, self.patience)
            return response

        connection.connect, connection.getresponse = connect_within, getresponse_within
        return connection


class _Handler(urllib.request.HTTPSHandler):
    def __init__(self, budget: Budget, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context=context)
        self._budget = budget
        self._trust = context

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        opened = self.do_open(partial(self._budget.connect, TimedConnection), req)
        return opened

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        connect = partial(self._budget.connect, TimedTLSConnection)
        return self.do_open(connect, req, context=self._trust)

    http_request = urllib.request.AbstractHTTPHandler.do_request_


class _Unread(io.RawIOBase):
    """Stands for the body of a redirect, which nobody wants: it may be as large as it likes."""

    def __init__(self, body: IO[bytes]) -> None:
        super().__init__()
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return 0

    def close(self) -> None:
        self._body.close()
        super().close()


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects without reading their bodies."""

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message) -> Any:
        """Follow a redirect."""
        return super().http_error_302(req, cast("IO[bytes]", _Unread(fp)), code, msg, headers)  # type: ignore[arg-type]

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def opener(budget: Budget, redirects: Redirects) -> urllib.request.OpenerDirector:
    """Return an opener for http and https alone, not for files: a redirect may lead anywhere."""
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Handler(budget),
        redirects,
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        director.add_handler(handler)
    return director
