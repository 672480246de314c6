"""The application: its routes, and what becomes of errors."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from maskserve.errors import MaskserveError
from maskserve_gateway import connections, documentation, model_routes, segmentation
from maskserve_gateway import static_page as page
from maskserve_gateway.access_log import CLIENT_GONE, Observer, exchange_of, exchange_of_scope
from maskserve_gateway.bounds import bounds_of
from maskserve_gateway.callers import CallerCheck, callers_of
from maskserve_gateway.connections import Guard
from maskserve_gateway.envelope import answer
from maskserve_gateway.errors import Refusal, refusal_for
from maskserve_gateway.forwarding import Proxies
from maskserve_gateway.overload import Turnstile
from maskserve_gateway.request_metrics import CONTENT_TYPE
from maskserve_gateway.schema import HealthEnvelope, ServiceInfo, error_responses
from maskserve_gateway.service import Service
from maskserve_gateway.settings import Settings, handed_down
from maskserve_gateway.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Scope

    from maskserve.transport.base import Transport

_log = logging.getLogger("maskserve.gateway")
_SPARE_THREADS = 8
# For which a thread may keep the event loop from running after each of its system calls; Python's own 5 ms are too long
# where a request is read on a thread while sixty others are to be refused.
_SWITCH_SECONDS = 0.0005
_ROUTES = frozenset({segmentation.PATH, model_routes.PATH, "/health", "/metrics", "/info", "/openapi.json", "/"})
_router = APIRouter()


def create_app(settings: Settings | None = None, transport: Transport | None = None) -> FastAPI:
    """Return the gateway as an ASGI application.

    Args:
        settings: how it behaves; None for those that the parent of a worker process left.
        transport: the way to the servers; None opens one to each URL of the settings.

    Raises:
        InvalidParameter: the settings make no sense.
    """
    service = Service(settings or handed_down(), transport)
    app = FastAPI(
        title="maskserve gateway",
        description="Instance segmentation in PaddleX's envelope.",
        version="1",
        docs_url=None,  # FastAPI's pages load their scripts from other hosts; see `documentation`
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.service = service
    app.include_router(segmentation.router)
    app.include_router(model_routes.router)
    app.include_router(_router)
    if service.settings.page:
        page.mount(app)
        documentation.mount(app)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]  # each is given its own kind
    # the first one is the innermost: a browser reads no answer without CORS's headers
    refused = partial(_refused_by, service)
    app.add_middleware(Turnstile, path=segmentation.PATH, turns=service.turns, keys=service.keys, refused=refused)
    if service.settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.settings.allow_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["Retry-After"],
        )
    app.add_middleware(CallerCheck, callers=callers_of(service.settings))
    proxies = Proxies(service.settings.trusted_proxies)
    telemetry = app.state.telemetry = Telemetry()
    app.add_middleware(Observer, metrics=service.metrics, routes=_ROUTES, proxies=proxies, telemetry=telemetry)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    service: Service = app.state.service
    service.trimmer.limit_arenas()
    sys.setswitchinterval(_SWITCH_SECONDS)
    threads = ThreadPoolExecutor(service.settings.max_concurrent + _SPARE_THREADS, thread_name_prefix="gateway")
    loop = asyncio.get_running_loop()
    loop.set_default_executor(threads)
    parent = multiprocessing.parent_process()
    if parent is not None:  # a worker, which must not go on when its parent was killed
        loop.add_reader(parent.sentinel, signal.raise_signal, signal.SIGTERM)
    yield {connections.STATE: Guard(bounds_of(service.settings), service.metrics.refused)}
    if parent is not None:
        loop.remove_reader(parent.sentinel)
    await service.close()
    await asyncio.to_thread(app.state.telemetry.close)


@_router.get(
    "/health", response_model=HealthEnvelope, operation_id="checkHealth", responses=error_responses(404, 502, 503, 504)
)
async def health(request: Request) -> Response:
    """Return whether the default model has answered lately; it is asked when that is not known."""
    service: Service = request.app.state.service
    await (await service.catalog.default()).health.check()
    return answer(exchange_of(request).log_id, 0, "Healthy")


@_router.get("/info", responses=error_responses(404, 502, 503, 504), operation_id="info")
async def info(request: Request) -> ServiceInfo:
    """Return the default model, its classes, and the limits of this service."""
    service: Service = request.app.state.service
    return await service.info()


@_router.get("/metrics", include_in_schema=False)
def metrics(request: Request) -> Response:
    """Return the metrics for Prometheus."""
    return Response(request.app.state.service.metrics.render(), media_type=CONTENT_TYPE)


def _refused(request: Request, refusal: Refusal) -> Response:
    return _refused_by(request.app.state.service, request.scope, refusal)


def _refused_by(service: Service, scope: Scope, refusal: Refusal) -> Response:
    if service.settings.strict_paddlex and not refusal.paddlex:
        refusal = Refusal(500, "Internal server error", refusal.headers)
    return answer(exchange_of_scope(scope).log_id, refusal.status, refusal.message, refusal.headers)


async def _on_refusal(request: Request, refusal: Refusal) -> Response:
    return _refused(request, refusal)


async def _on_known(request: Request, error: MaskserveError) -> Response:
    exchange_of(request).reason = error.message
    return _refused(request, refusal_for(error))


async def _on_http(request: Request, error: HTTPException) -> Response:
    return _refused(request, Refusal(error.status_code, str(error.detail), error.headers or {}))


async def _on_gone(request: Request, _: ClientDisconnect) -> Response:
    return _refused(request, Refusal(CLIENT_GONE, "the client is gone"))


async def _on_unknown(request: Request, error: Exception) -> Response:
    _log.error("logId=%s: %s", exchange_of(request).log_id, type(error).__name__)
    return _refused(request, Refusal(500, "Internal server error"))


_HANDLERS = {
    Refusal: _on_refusal,
    MaskserveError: _on_known,
    HTTPException: _on_http,
    ClientDisconnect: _on_gone,
    Exception: _on_unknown,
}
