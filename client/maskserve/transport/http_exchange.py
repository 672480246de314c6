"""HTTP/1.1 requests to one server and their answers, before anybody says what they mean.

Written on the standard library: `tritonclient.http` may not be shared between threads and brings gevent with it.
"""

from __future__ import annotations

import http.client
import ssl
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from maskserve.errors import InferenceFailed, InvalidParameter
from maskserve.timed_http import MAX_HEAD, TimedConnection, TimedSocket, TimedTLSConnection
from maskserve.transport.cancellation import Cancellation
from maskserve.transport.fork import fork_gate
from maskserve.transport.http_pool import Connections, interrupt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskserve.transport.endpoint import Endpoint

Connection = http.client.HTTPConnection

HEADER_LENGTH = "Inference-Header-Content-Length"
_MAX_ANSWER = 64 << 20
_MAX_DIGITS = 12


class NotConnected(OSError):
    """There is no connection, so that no server has seen the request."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server answered.

    Attributes:
        status: of HTTP.
        content: the body.
        header_length: bytes of the body's JSON part; None where all of it is JSON.
    """

    status: int
    content: bytes
    header_length: int | None = None


@dataclass(frozen=True, slots=True)
class _Message:
    """A request as `http.client` takes it."""

    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]


class HttpExchange:
    """Sends requests to a server, never through a proxy. Connections stay open for the next request.

    Raises:
        InvalidParameter: the file of certificate authorities cannot be read.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connections = Connections()
        self._tls = _trust(endpoint.ca_file) if endpoint.scheme == "https" else None

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        cancellation: Cancellation | None = None,
    ) -> HttpAnswer:
        """Send one request and return the answer, whatever its status is.

        Raises:
            TimeoutError: there was no answer in time.
            NotConnected: there is no connection.
            OSError: the connection broke, and the request is not sent again: it may be the cause.
            http.client.HTTPException: what came is no answer of HTTP.
            InferenceFailed: the answer is larger than any of ours.
        """
        message = _Message(method, self._endpoint.path + path, body, {**self._endpoint.headers, **(headers or {})})
        cancellation = cancellation or Cancellation()
        deadline = time.monotonic() + self._endpoint.timeout
        with fork_gate.request():
            return self._send(self._connections.take() or self._connect(), message, cancellation, deadline)

    def close(self) -> None:
        """Close the connections; who waits for an answer gets an `OSError` or an `HTTPException`."""
        with fork_gate.request():
            self._connections.close()

    def _send(
        self, connection: Connection, message: _Message, cancellation: Cancellation, deadline: float
    ) -> HttpAnswer:
        with self._connections.using(connection), cancellation.watched(partial(interrupt, connection)):
            timed = cast(TimedSocket, connection.sock)
            timed.begin(deadline - time.monotonic(), MAX_HEAD)
            connection.request(message.method, message.path, message.body, message.headers)
            response = connection.getresponse()
            timed.allow(_MAX_ANSWER + MAX_HEAD)
            try:
                content = response.read(_MAX_ANSWER + 1)
            except BaseException:
                response.close()  # where the server closes the connection, it alone has the socket
                raise
            if len(content) > _MAX_ANSWER:
                raise InferenceFailed(f"{self._endpoint.url} sent more than {_MAX_ANSWER >> 20} MiB")
            length = response.getheader(HEADER_LENGTH) or ""
            known = length.isascii() and length.isdigit() and len(length) < _MAX_DIGITS
            return HttpAnswer(response.status, content, int(length) if known else None)

    def _connect(self) -> Connection:
        where = self._endpoint
        if self._tls is None:
            connection: Connection = TimedConnection(where.host, where.port, timeout=where.connect_timeout)
        else:
            connection = TimedTLSConnection(where.host, where.port, timeout=where.connect_timeout, context=self._tls)
        try:
            connection.connect()
        except TimeoutError:
            raise NotConnected(f"no connection within {where.connect_timeout:g} s") from None
        except OSError as error:
            raise NotConnected(str(error)) from error
        return connection


def _trust(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # SSLError is one, too
        raise InvalidParameter(f"the certificate file {ca_file} cannot be read: {error.strerror or error}") from None
