"""A gateway: a process that listens, and one or several workers below it that answer."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from maskserve.errors import MaskserveError, ToolError
from maskserve.paddlex.config import PIPELINE
from maskserve.temporary import owned_folder, remove_stale
from maskserve_gateway.settings import ALL, API_KEY_VARIABLE, Settings, api_keys, hand_down

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER: Final[dict[str, Any]] = {
    "access_log": False,  # ours has the logId
    "http": "maskserve_gateway.connections:BoundedProtocol",
    "lifespan": "on",
    "proxy_headers": False,  # uvicorn takes any text for an address; see `forwarding`
    "server_header": False,
    "ws": "none",
}
"""What uvicorn is told of every gateway."""
_ASKING_SECONDS = 5.0
_BACKLOG = 2048
_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "maskserve": {"handlers": ["stderr"], "level": "INFO"},
        "uvicorn": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
    },
}


def run(settings: Settings, *, host: str, port: int, workers: int, ready: Callable[[str, str], None]) -> None:
    """Serve until a signal asks to stop; requests under way are answered before.

    Args:
        settings: how the gateway behaves.
        host: the address to listen on.
        port: likewise; 0 for a free one.
        workers: how many processes.
        ready: told the URL and the default model as soon as connections are accepted.

    Raises:
        InvalidParameter: the settings make no sense.
        ToolError: the port cannot be had, or no worker can be started.
    """
    from maskserve_gateway.bounds import bounds_of
    from maskserve_gateway.callers import callers_of
    from maskserve_gateway.forwarding import Proxies
    from maskserve_gateway.request_metrics import FOLDER_VARIABLE

    settings = replace(settings, listen=host)
    callers_of(settings)
    Proxies(settings.trusted_proxies)
    if not api_keys(settings) and not _is_local(host):
        say = "everybody who reaches %s can use it: set %s, or give it a file of API keys"
        logging.getLogger("maskserve.gateway").warning(say, host, API_KEY_VARIABLE)
    bounds_of(settings)
    settings = _with_default(settings)
    with ExitStack() as resources:
        listener = resources.enter_context(_listen(host, port))
        if workers > 1:
            remove_stale()
            folder = resources.enter_context(owned_folder("metrics"))
            os.environ[FOLDER_VARIABLE] = str(folder.path)
        ready(_url(listener, host), settings.model)
        _serve(settings, listener, workers)


def _with_default(settings: Settings) -> Settings:
    """Return the settings with the default model by name, so that it is the same in every worker, and stays.

    Where no server answers yet, they stay as they are.
    """
    from maskserve_gateway.catalog import choose_default
    from maskserve_gateway.service import open_servers

    transport = open_servers(replace(settings, timeout=min(settings.timeout, _ASKING_SECONDS)))
    try:
        chosen = choose_default(transport) if settings.model == PIPELINE else None
    except MaskserveError:
        chosen = None
    finally:
        transport.close()
    return settings if chosen is None else replace(settings, model=chosen, models=(*settings.models, ALL))


def _is_local(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that connections can be made to from now on: they wait until a worker takes them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ToolError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    listener.set_inheritable(True)
    return listener


def _url(listener: socket.socket, host: str) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


def _serve(settings: Settings, listener: socket.socket, workers: int) -> None:
    import uvicorn

    from maskserve_gateway.worker_processes import Workers

    hand_down(settings)
    config = uvicorn.Config(
        "maskserve_gateway.app:create_app",
        factory=True,
        workers=workers,
        log_config=_LOGGING,
        timeout_graceful_shutdown=int(settings.timeout) + 1,
        **SERVER,
    )
    running = Workers(config, [listener])
    running.run()
    if running.failure is not None:
        raise ToolError(f"the gateway has ended by itself: {running.failure}")
