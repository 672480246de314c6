"""Clients that send too much, too slowly, or never read: each costs its own connection, and nobody else's."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.gateway.conftest import PATH, Start, as_base64, encoded

PATIENCE = 20.0
BODY = json.dumps({"image": as_base64(encoded()), "visualize": False}).encode()
HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(BODY))
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"


@contextmanager
def connected(gateway: httpx.Client) -> Iterator[socket.socket]:
    with socket.create_connection((gateway.base_url.host, gateway.base_url.port or 80), PATIENCE) as connection:
        yield connection


def send(connection: socket.socket, data: bytes) -> None:
    """Send what the other side still takes."""
    with contextlib.suppress(ConnectionError):
        connection.sendall(data)


def rest(connection: socket.socket) -> bytes:
    """All that comes until the connection ends; fails where it does not."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            received += part
    return received


def refusal(received: bytes) -> tuple[int, str]:
    """Status and message of an envelope, which must be the only answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    document = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % document["errorCode"]), head
    return document["errorCode"], document["errorMsg"]


def seconds_since(begun: float) -> float:
    return time.monotonic() - begun


def test_a_header_of_a_megabyte(start: Start) -> None:
    gateway = start()
    begun = time.monotonic()
    with connected(gateway) as connection:
        send(connection, GET + b"X-Long: " + b"a" * (1 << 20))
        assert refusal(rest(connection)) == (431, "the head of the request has more than 32768 bytes")
    assert seconds_since(begun) < 5
    assert 'refused_connections_total{reason="431"} 1.0' in gateway.get("/metrics").text


ENDLESS = {
    "one header": (GET + b"X: ", b"a" * 1000, 431),
    "many headers": (GET, b"X-Y: z\r\n" * 10, 431),
    "a request line": (b"GET /", b"a" * 1000, 431),
    "empty lines": (b"", b"\r\n" * 500, 431),
    "trailers": (GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Y: z\r\n" * 100, 400),
    "one trailer": (GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a" * 1000, 400),
    "a chunk's extension": (GET + b"Transfer-Encoding: chunked\r\n\r\n1;a=", b"a" * 1000, 400),
    "requests": (b"", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50, None),
}


@pytest.mark.parametrize(("first", "again", "status"), ENDLESS.values(), ids=ENDLESS)
def test_what_never_ends_is_ended(start: Start, first: bytes, again: bytes, status: int | None) -> None:
    gateway = start(timeout=1.0)  # that answers have to be read
    sent = 0
    with connected(gateway) as connection:
        connection.sendall(first)
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(ConnectionError):
            while status is not None or sent < 30_000_000:
                assert time.monotonic() < deadline, sent
                connection.sendall(again)
                sent += len(again)
        if status is not None:
            received = rest(connection)
            assert not received or b"HTTP/1.1 %d " % status in received
    assert gateway.get("/openapi.json").status_code == 200


def test_as_many_headers_as_may_be(start: Start) -> None:
    gateway = start()
    for extra, status in ((98, b"HTTP/1.1 200 "), (99, b"HTTP/1.1 200 "), (100, b"HTTP/1.1 431 ")):
        with connected(gateway) as connection:
            connection.sendall(GET + b"X-Y: z\r\n" * extra + b"\r\n")
            assert connection.recv(13) == status


def test_half_a_head(start: Start) -> None:
    begun = time.monotonic()
    with connected(start(head_seconds=0.3)) as connection:
        connection.sendall(GET)
        assert refusal(rest(connection)) == (408, "the request did not arrive in time")
    assert seconds_since(begun) < 5


def test_a_head_in_drips(start: Start) -> None:
    with connected(start(head_seconds=0.3)) as connection, contextlib.suppress(ConnectionError):
        deadline = time.monotonic() + PATIENCE
        for letter in GET + b"X-Y: " + b"z" * 10_000:
            assert time.monotonic() < deadline
            connection.sendall(bytes([letter]))
            time.sleep(0.01)


def test_a_connection_without_a_byte(start: Start) -> None:
    with connected(start(head_seconds=0.2)) as connection:
        assert rest(connection) == b""


def test_half_a_head_on_a_connection_that_was_used(start: Start) -> None:
    with connected(start(head_seconds=0.3)) as connection:
        connection.sendall(GET + b"\r\n" + GET)
        received = rest(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in received


def test_a_body_in_drips(start: Start) -> None:
    """Today's deadline for a body is a minute; one byte after the other does not have it."""
    begun = time.monotonic()
    received = b""
    with connected(start(head_seconds=0.3)) as connection:
        connection.sendall(HEAD)
        connection.settimeout(0.02)
        for letter in BODY * 100:
            assert seconds_since(begun) < PATIENCE
            with contextlib.suppress(TimeoutError):
                received += connection.recv(1000)
            if received:
                break
            connection.sendall(bytes([letter]))
        connection.settimeout(PATIENCE)
        received += rest(connection)
    assert b"HTTP/1.1 408 " in received
    assert b"the request did not arrive in time" in received


def test_a_body_that_nobody_reads(start: Start) -> None:
    """The answer is there at once, and the rest of a gigabyte is not waited for."""
    with connected(start()) as connection:
        connection.sendall(b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(ConnectionError):
            while True:
                assert time.monotonic() < deadline
                connection.sendall(b" ")
                time.sleep(0.01)


def test_an_answer_that_is_never_read(start: Start) -> None:
    gateway = start(timeout=1.0)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect((gateway.base_url.host, gateway.base_url.port))
        connection.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8)  # 11 MB
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(ConnectionError):
            while True:  # whether the connection is still there shows when something is sent on it
                assert time.monotonic() < deadline
                connection.sendall(b"\r\n")
                time.sleep(0.05)


def test_half_open_heads_give_way(start: Start) -> None:
    """There is room for 20 connections; 100 want it and never go on, yet each client is served."""
    gateway = start(max_connections=20)
    with ExitStack() as resources:
        connections = [resources.enter_context(connected(gateway)) for _ in range(100)]
        for connection in connections:
            send(connection, GET)
        url = gateway.base_url
        for _ in range(5):
            assert httpx.post(f"{url}{PATH}", content=BODY, timeout=PATIENCE, trust_env=False).status_code == 200
        text = httpx.get(f"{url}/metrics", timeout=PATIENCE, trust_env=False).text
    replaced = re.search(r'refused_connections_total\{reason="replaced"\} (\d+)', text)
    assert replaced is not None
    assert int(replaced[1]) >= 80


def test_requests_do_not_give_way(start: Start) -> None:
    """Twenty bodies are on their way, whose connections stay; the next connection is told so."""
    gateway = start(max_connections=20)
    with ExitStack() as resources:
        busy = [resources.enter_context(connected(gateway)) for _ in range(20)]
        for connection in busy:
            connection.sendall(HEAD.replace(b"Host:", b"Expect: 100-continue\r\nHost:"))
        for connection in busy:
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        with connected(gateway) as late:
            assert refusal(rest(late)) == (503, "there are too many connections; try again later")
        for connection in busy:
            connection.sendall(BODY)
        for connection in busy:
            assert connection.recv(15) == b"HTTP/1.1 200 OK"


def gateway_with_few_descriptors(*options: str) -> subprocess.Popen[str]:
    """`maskserve gateway` in a process that may have 256 file descriptors."""
    line = [sys.executable, "-m", "maskserve_tools.cli", "gateway", "--port", "auto", "--model", "x", *options]
    shell = ["/bin/sh", "-c", 'ulimit -n 256 && exec "$@"', "sh", *line, "--url", "grpc://127.0.0.1:9"]
    return subprocess.Popen(shell, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_few_file_descriptors() -> None:
    """400 connections are opened and do not go on."""
    with ExitStack() as resources:
        process = resources.enter_context(gateway_with_few_descriptors())
        resources.callback(process.terminate)
        assert process.stdout is not None
        found = re.search(r"http://127.0.0.1:(\d+)", process.stdout.readline())
        assert found is not None
        for _ in range(400):
            connection = resources.enter_context(socket.create_connection(("127.0.0.1", int(found[1])), PATIENCE))
            send(connection, GET)
        for _ in range(3):
            begun = time.monotonic()
            assert httpx.get(f"{found[0]}/openapi.json", timeout=PATIENCE, trust_env=False).status_code == 200
            assert seconds_since(begun) < 5


def test_too_few_file_descriptors() -> None:
    with gateway_with_few_descriptors("--max-concurrent", "500") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "the limit of 256 file descriptors is too low" in errors


def test_requests_in_a_row_without_waiting(start: Start) -> None:
    with connected(start()) as connection:
        connection.sendall((HEAD + BODY) * 3 + GET + b"Connection: close\r\n\r\n")
        received = rest(connection)
    assert re.findall(rb'HTTP/1.1 200 OK|"errorCode":0|# EOF|maskserve_gateway_requests_total{', received) == [
        *(b"HTTP/1.1 200 OK", b'"errorCode":0') * 3,
        *(b"HTTP/1.1 200 OK", b"maskserve_gateway_requests_total{"),
    ]


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.parametrize("garbage", [b"\0\1\2\3", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", PREFACE])
def test_what_is_not_http(start: Start, garbage: bytes) -> None:
    with connected(start()) as connection:
        send(connection, garbage)
        assert refusal(rest(connection)) == (400, "the request is not HTTP")


REQUEST = HEAD.replace(b"Host:", b"Connection: close\r\nHost:") + BODY


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(REQUEST)), max_size=6))
def test_wherever_a_request_is_cut(gateway: httpx.Client, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(REQUEST)]
    with connected(gateway) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin, end in pairwise(places):
            connection.sendall(REQUEST[begin:end])
        assert rest(connection).startswith(b"HTTP/1.1 200 OK")
