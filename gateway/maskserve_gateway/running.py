"""A gateway as a process, or as several."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING

from maskserve.errors import ToolError
from maskserve_gateway.settings import Settings, api_keys, hand_down

if TYPE_CHECKING:
    from collections.abc import Callable

_BACKLOG = 2048
_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "maskserve": {"handlers": ["stderr"], "level": "INFO"},
        "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}


def run(settings: Settings, *, host: str, port: int, workers: int, ready: Callable[[str], None]) -> None:
    """Serve until a signal asks to stop; requests under way are answered before.

    Args:
        settings: how the gateway behaves.
        host: the address to listen on.
        port: likewise; 0 for a free one.
        workers: how many processes.
        ready: told the URL as soon as connections are accepted.

    Raises:
        InvalidParameter: the settings make no sense.
        ToolError: the port cannot be had.
    """
    from maskserve_gateway.metrics import FOLDER_VARIABLE
    from maskserve_gateway.service import open_servers

    api_keys(settings)
    open_servers(settings).close()
    with ExitStack() as resources:
        listener = resources.enter_context(_listen(host, port))
        if workers > 1:
            folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="maskserve-metrics-"))
            os.environ[FOLDER_VARIABLE] = folder
        ready(_url(listener, host))
        _serve(settings, listener, workers)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that connections can be made to from now on: they wait until a worker takes them."""
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
    from uvicorn.supervisors import Multiprocess

    hand_down(settings)
    config = uvicorn.Config(
        "maskserve_gateway.app:create_app",
        factory=True,
        workers=workers,
        log_config=_LOGGING,
        access_log=False,  # ours has the logId
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=int(settings.timeout) + 1,
    )
    if workers > 1:
        Multiprocess(config, sockets=[listener]).run()
    else:
        uvicorn.Server(config).run(sockets=[listener])
