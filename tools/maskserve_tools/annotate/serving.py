"""Run an ASGI application until somebody stops it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from maskserve.errors import ToolError

if TYPE_CHECKING:
    from fastapi import FastAPI


def serve(app: FastAPI, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer requests until a signal asks to stop.

    Args:
        app: the application.
        host: the address to listen on.
        port: 0 for a free one.
        ready: is told the address, as soon as connections are taken.

    Raises:
        ToolError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen()
        except OSError as error:
            raise ToolError(f"cannot listen on {host}, port {port}: {error.strerror}") from None
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listening.getsockname()[1]}")
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
