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

    from maskserve_gateway.metrics import Metrics

ACCESS_LOG = "maskserve.gateway.access"
CLIENT_GONE = 499  # nginx's number for it
_log = logging.getLogger(ACCESS_LOG)
_KEY = "maskserve.exchange"


@dataclass(slots=True)
class Exchange:
    """A request and its answer.

    Attributes:
        log_id: a UUID, in the envelope of the answer and in the log.
        status: of the answer.
        size: bytes of its body.
        trace: the trace context that went to Triton.
        reason: what is behind the answer, for the log only.
    """

    log_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: int = 500
    size: int = 0
    trace: str = "-"
    reason: str = ""


def exchange_of(request: Request) -> Exchange:
    """The exchange that a request belongs to."""
    exchange: Exchange = request.scope[_KEY]
    return exchange


class Observer:
    """ASGI middleware that gives each request its `Exchange`, and reports it in the end."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and report it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = scope[_KEY] = Exchange()
        begun = time.perf_counter()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            exchange.size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._report(scope, exchange, time.perf_counter() - begun)

    def _report(self, scope: Scope, exchange: Exchange, seconds: float) -> None:
        path: str = scope["path"]
        route = path if path in self._routes else "other"
        self._metrics.answered(route, exchange.status, seconds)
        client = (scope.get("client") or ["-"])[0]
        _log.info(
            "logId=%s client=%s method=%s path=%s status=%d ms=%.1f bytes=%d trace=%s%s",
            *(exchange.log_id, client, scope["method"][:16], path if route == path else ascii(path[:200])),
            *(exchange.status, seconds * 1000, exchange.size, exchange.trace),
            f" reason={exchange.reason!a}" if exchange.reason else "",
        )
