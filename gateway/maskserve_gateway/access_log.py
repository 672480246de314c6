"""Around every request: its logId, its line in the access log, its share in the metrics."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from maskserve_gateway.forwarding import Proxies
    from maskserve_gateway.memory import Share
    from maskserve_gateway.request_metrics import Metrics
    from maskserve_gateway.telemetry import Telemetry

ACCESS_LOG = "maskserve.gateway.access"
CLIENT_GONE = 499  # nginx's number for it
_log = logging.getLogger(ACCESS_LOG)
_KEY = "maskserve.exchange"
_PIECE = 1 << 16
# Of every answer: it is what its type says, it shows nothing as a page, and pages of other hosts do not embed it.
BROWSER_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


@dataclass(slots=True)
class RequestContext:
    """A request and its answer.

    Attributes:
        log_id: a UUID, in the envelope of the answer and in the log.
        status: of the answer.
        size: bytes of its body.
        trace: the trace context that went to Triton.
        reason: what is behind the answer, for the log only.
        share: the memory that the request takes, until its answer has been read.
        route: its path with the name of a model that is there, for the metrics.
    """

    log_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: int = 500
    size: int = 0
    trace: str = "-"
    reason: str = ""
    share: Share | None = None
    route: str = ""


def exchange_of(request: Request) -> RequestContext:
    """Return the exchange that a request belongs to."""
    exchange: RequestContext = request.scope[_KEY]
    return exchange


def exchange_of_scope(scope: Scope) -> RequestContext:
    """Return the exchange of a request, for what is no route."""
    exchange: RequestContext = scope[_KEY]
    return exchange


class Observer:
    """ASGI middleware that gives each request its `RequestContext`, and reports it in the end.

    Its answers get the headers for browsers that they have not.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, routes: frozenset[str], proxies: Proxies, telemetry: Telemetry
    ) -> None:
        self._app = app
        self._telemetry = telemetry
        self._proxies = proxies
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and report it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = scope[_KEY] = RequestContext()
        begun = time.perf_counter()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                present = {name.lower() for name, _ in message["headers"]}
                missing = [header for header in BROWSER_HEADERS if header[0] not in present]
                message = {**message, "headers": [*message["headers"], *missing]}
            body = message.get("body", b"")
            exchange.size += len(body)
            # each piece waits until the client has read the ones before; at once, all of them would wait in the server
            last = (len(body) - 1) // _PIECE * _PIECE
            for first in range(0, last, _PIECE):
                await send({"type": "http.response.body", "body": body[first : first + _PIECE], "more_body": True})
            await send({**message, "body": body[last:]} if last > 0 else message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            with self._telemetry.request(scope["method"], scope["path"], headers) as span:
                await self._app(scope, receive, watched)
                if span is not None:
                    span.set_attributes({"http.response.status_code": exchange.status, "url.path": exchange.route})
        finally:
            if exchange.share is not None:
                exchange.share.close()
            self._report(scope, exchange, time.perf_counter() - begun)

    def _report(self, scope: Scope, exchange: RequestContext, seconds: float) -> None:
        path: str = scope["path"]
        route = exchange.route or (path if path in self._routes else "other")
        self._metrics.answered(route, exchange.status, seconds)
        client = self._proxies.client_of(scope)
        _log.info(
            "logId=%s client=%s method=%s path=%s status=%d ms=%.1f bytes=%d trace=%s%s",
            *(exchange.log_id, client, scope["method"][:16], path if route == path else ascii(path[:200])),
            *(exchange.status, seconds * 1000, exchange.size, exchange.trace),
            f" reason={exchange.reason!a}" if exchange.reason else "",
        )
