"""A gateway in front of servers that an image ends: it costs one of them, and nobody is told to send it again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from maskserve_gateway.app import create_app
from maskserve_gateway.settings import Settings
from tests.client.transport.mortal_server import POISON, MortalServer
from tests.gateway.conftest import PATH, as_base64, envelope, listening

JPEG = b"\xff\xd8\xff"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[MortalServer]]:
    started = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            ports = one.getsockname()[1], two.getsockname()[1]
        started.append(MortalServer(tmp_path, ports))
    yield started
    for server in started:
        server.stop()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_poison_ends_one_server_and_is_not_sent_on(servers: list[MortalServer], protocol: str) -> None:
    app = create_app(Settings(urls=tuple(server.urls[protocol] for server in servers), model="tiny"))
    with listening(app) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        assert client.post(PATH, json={"image": as_base64(JPEG)}).status_code == 400
        refused = client.post(PATH, json={"image": as_base64(JPEG + POISON)})
        status, message = envelope(refused)
        assert (status, "was not sent again" in message) == (502, True)
        assert "Retry-After" not in refused.headers
        for _ in range(4):
            assert client.post(PATH, json={"image": as_base64(JPEG)}).status_code == 400
    assert sum(server.seen.count("poison") for server in servers) == 1
