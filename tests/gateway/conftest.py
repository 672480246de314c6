"""Gateways on real sockets, in front of a server that is not there."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import uvicorn

from maskserve_gateway.app import create_app
from maskserve_gateway.service import Service
from maskserve_gateway.settings import Settings
from maskserve_gateway.workers import SERVER
from tests.client.conftest import FakeTransport

PATH = "/instance-segmentation"
Start = Callable[..., httpx.Client]


def encoded(height: int = 30, width: int = 40, suffix: str = ".png", value: int = 255) -> bytes:
    """An image of one colour, whose blue is the score that the fake server gives."""
    return bytes(cv2.imencode(suffix, np.full((height, width, 3), value, np.uint8))[1])


def as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


class _Prompt(uvicorn.Server):
    """Ends at once when it is told to: it would look ten times a second, and hundreds of tests would wait for that."""

    async def main_loop(self) -> None:
        while not await self.on_tick(counter=0):
            await asyncio.sleep(0.01)


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Run an ASGI application in a thread; gives its URL."""
    config = uvicorn.Config(app, port=0, log_level="error", **SERVER)
    server = _Prompt(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "the gateway did not start"
            assert time.monotonic() < deadline, "the gateway did not start in time"
            time.sleep(0.005)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive(), "the gateway did not stop"


@pytest.fixture(autouse=True)
def decoded_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw upon images that this process decodes: processes of their own take their time to start."""
    monkeypatch.setenv("MASKSERVE_DECODERS", "0")


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def start(transport: FakeTransport) -> Iterator[Start]:
    """Start a gateway with some settings; gives a client of it."""
    with ExitStack() as resources:
        services: list[Service] = []

        def start(**settings: Any) -> httpx.Client:
            app = create_app(Settings(urls=("grpc://192.0.2.1:1",), model="tiny", **settings), transport)
            services.append(app.state.service)
            url = resources.enter_context(listening(app))
            return resources.enter_context(httpx.Client(base_url=url, timeout=20, trust_env=False))

        start.services = services  # type: ignore[attr-defined]
        yield start


@pytest.fixture
def gateway(start: Start) -> httpx.Client:
    """A gateway with the settings as they are."""
    return start()


def envelope(response: httpx.Response) -> tuple[int, str]:
    """Status and message of a refusal, whose envelope has to be whole."""
    document = json.loads(response.content)
    assert set(document) == {"logId", "errorCode", "errorMsg"}
    assert document["errorCode"] == response.status_code
    assert len(document["logId"]) == 36
    return response.status_code, document["errorMsg"]
