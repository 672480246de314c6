"""A request that was lost with its server is sent to nobody again: its image may have ended the server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.client.transport.mortal_server import POISON, MortalServer

from maskserve import create_pipeline
from maskserve.errors import (
    InferenceFailed,
    InvalidImage,
    MaskserveError,
    ModelNotReady,
    ServerOverloaded,
    ServerUnavailable,
)
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.errors import from_status
from maskserve.transport.wire import ImageRequest
from maskserve_gateway.balancing import BalancedTransport

JPEG = b"\xff\xd8\xff"  # what the client sends as it is
Start = Callable[[], MortalServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[MortalServer] = []

    def start() -> MortalServer:
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            ports = one.getsockname()[1], two.getsockname()[1]
        started.append(MortalServer(tmp_path, ports))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("used", [False, True], ids=["new connection", "used connection"])
def test_the_client_sends_poison_once(start: Start, protocol: str, used: bool) -> None:
    server = start()
    with create_pipeline("tiny", url=server.urls[protocol], retries=5) as pipeline:
        assert pipeline.labels == ["person"] or tuple(pipeline.labels) == ("person",)
        if used:
            with pytest.raises(InvalidImage):
                list(pipeline.predict(JPEG))
        watch = server.restart_when_dead(1)
        with pytest.raises(ServerUnavailable) as lost:
            list(pipeline.predict(JPEG + POISON))
        assert lost.value.lost
        watch.join(60)
        with pytest.raises(InvalidImage):  # the server is there again, and asked
            list(pipeline.predict(JPEG))
    assert server.seen.count("poison") == 1


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_request_that_no_server_has_seen_is_sent_again(start: Start, protocol: str) -> None:
    server = start()
    with create_pipeline("tiny", url=server.urls[protocol], retries=6) as pipeline:
        assert len(pipeline.labels) == 1
        server.stop()
        back = threading.Timer(0.2, server.restart)
        back.start()
        with pytest.raises(InvalidImage):
            list(pipeline.predict(JPEG))
        back.join()
    assert server.seen == ["image"]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_gateway_sends_poison_to_one_server(start: Start, protocol: str) -> None:
    servers = [start(), start(), start()]
    balanced = BalancedTransport([open_transport(parse_url(server.urls[protocol])) for server in servers])
    for _ in range(6):
        with pytest.raises(InvalidImage):
            balanced.infer("tiny", ImageRequest(JPEG))
    with pytest.raises(ServerUnavailable) as lost:
        balanced.infer("tiny", ImageRequest(JPEG + POISON))
    assert lost.value.lost
    deadline = time.monotonic() + 20
    while all(server.alive for server in servers):
        assert time.monotonic() < deadline
    assert [server.alive for server in servers].count(True) == 2
    for _ in range(6):  # one is down: that costs nobody else anything
        with pytest.raises(InvalidImage):
            balanced.infer("tiny", ImageRequest(JPEG))
    assert sum(server.seen.count("poison") for server in servers) == 1
    balanced.close()


@pytest.mark.parametrize(
    ("status", "text", "lost"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: ipv4:1: connection refused", False),
        ("UNAVAILABLE", "[request id: 1] Exceeds maximum queue size", False),
        ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped accepting new inference requests", False),
        ("UNAVAILABLE", "no healthy upstream", False),
        ("UNAVAILABLE", "upstream connect error or disconnect/reset before headers. reset reason: remote connection "
         "failure, transport failure reason: delayed connect error: Connection refused", False),
        ("UNAVAILABLE", "upstream connect error or disconnect/reset before headers. reset reason: connection "
         "termination", True),
        ("UNAVAILABLE", "Socket closed", True),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer", True),
        ("CANCELLED", "Received RST_STREAM with error code 8", True),
        ("INTERNAL", "Stub process 'people_0' is not healthy.", True),
        (500, "Stub process 'people_0' is not healthy.", True),
        (502, "<html><h1>502 Bad Gateway</h1>The server returned an invalid or incomplete response", True),
        (503, "<html><h1>503 Service Unavailable</h1>No server is available to handle this request", False),
        (503, "Exceeds maximum queue size", False),
        (503, "upstream connect error or disconnect/reset before headers. reset reason: connection termination", True),
    ],
)  # fmt: skip
def test_what_may_have_ended_a_server(status: str | int, text: str, lost: bool) -> None:
    error = from_status(status, text, "grpc://box", "tiny")
    assert isinstance(error, ServerUnavailable | ModelNotReady)
    assert error.lost == lost


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (503, ServerUnavailable, "no server answers at http://box (it answers with status 503)"),
        (429, ServerOverloaded, "tiny at http://box: it answers with status 429"),
        (302, InferenceFailed, "tiny at http://box: it answers with status 302"),
    ],
)
def test_a_status_alone_is_said(status: int, kind: type[MaskserveError], words: str) -> None:
    """As proxies answer: a bare number says nothing, and "connection failed" the wrong thing."""
    error = from_status(status, "", "http://box", "tiny")
    assert type(error) is kind
    assert error.message.startswith(words)
