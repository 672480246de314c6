"""A server that answers when it is let go, and requests whose answers nobody has read yet."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse

import httpx
import pytest

from maskserve.transport.wire import ImageRequest, Tensor
from tests.client.conftest import FakeTransport
from tests.gateway.conftest import PATH, as_base64, encoded

BODY = json.dumps({"image": as_base64(encoded())}).encode()
PATIENCE = 20


class Held(FakeTransport):
    """Answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.called_off = threading.Event()

    def infer(self, model: str, request: ImageRequest) -> list[Tensor]:
        self.arrived.release()
        assert request.cancellation is not None
        with request.cancellation.watched(self.called_off.set):
            self.let_go.wait(PATIENCE)
        return super().infer(model, request)

    def wait_for(self, number: int) -> None:
        for _ in range(number):
            assert self.arrived.acquire(timeout=PATIENCE)


@pytest.fixture
def transport() -> Iterator[Held]:
    held = Held()
    yield held
    held.let_go.set()


@contextmanager
def sent(gateway: httpx.Client, body: bytes = BODY) -> Iterator[socket.socket]:
    """A request on a connection of its own, whose answer nobody has read yet."""
    host, port = gateway.base_url.host, gateway.base_url.port
    assert port is not None
    with socket.create_connection((host, port), timeout=PATIENCE) as connection:
        connection.sendall(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body))
        )
        connection.sendall(body)
        yield connection


def read_answer(connection: socket.socket) -> HTTPResponse:
    """Return an answer, read to its end: head and body may come one after the other."""
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer


def wait_until(gateway: httpx.Client, metric: str) -> str:
    """Wait for a line in the metrics; gives all of them."""
    deadline = time.monotonic() + PATIENCE
    while metric not in (metrics := gateway.get("/metrics").text):
        assert time.monotonic() < deadline, metrics
    return metrics
