"""What one request may take: so many bytes, so much time, and nothing more once its client has gone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.gateway.conftest import PATH, Start, envelope
from tests.gateway.limits.conftest import BODY, PATIENCE, Held, read_answer, sent, wait_until


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 1000):
        yield b" " * 1000


@pytest.mark.parametrize("size", [2001, 50_000, 2_000_000])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_a_body_that_is_too_large(start: Start, transport: Held, size: int, announced: bool) -> None:
    gateway = start(max_body_bytes=2000)
    content = b" " * size if announced else chunks(size + 999)
    assert envelope(gateway.post(PATH, content=content)) == (413, "the request has more than 2000 bytes")
    assert not transport.requests


def test_who_asks_before_sending_is_told_not_to(start: Start) -> None:
    gateway = start(max_body_bytes=2000)
    with sent(gateway, b"") as connection:
        read_answer(connection)
        head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head % PATH.encode())
        assert read_answer(connection).status == 413


def test_a_body_as_large_as_may_be(start: Start, transport: Held) -> None:
    transport.let_go.set()
    assert start(max_body_bytes=len(BODY)).post(PATH, content=BODY).status_code == 200


def test_a_body_that_never_ends(start: Start) -> None:
    gateway = start(timeout=0.2)
    with sent(gateway, b"") as connection:
        connection.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{" % PATH.encode())
        answers = b""
        while b"the request did not arrive in time" not in answers:
            answers += (part := connection.recv(10_000))
            assert part, answers
    assert b"408 Request Timeout" in answers


def test_a_server_that_is_too_slow(start: Start, transport: Held) -> None:
    assert envelope(start(timeout=0.2).post(PATH, content=BODY)) == (504, "the model gave no answer in time")
    assert transport.called_off.wait(PATIENCE)
    transport.let_go.set()  # or the gateway's end waits for it


def test_a_client_that_hangs_up_makes_room(start: Start, transport: Held) -> None:
    gateway = start(max_concurrent=1, max_waiting=0)
    with sent(gateway):
        transport.wait_for(1)
    assert transport.called_off.wait(PATIENCE)
    assert 'status="499"' in wait_until(gateway, "in_flight 0.0")
    transport.let_go.set()
    assert gateway.post(PATH, content=BODY).status_code == 200


def test_requests_in_a_row_are_not_computed_for_a_client_that_hangs_up(
    start: Start, transport: Held, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the newest of them was told, and the first one was computed in vain; its answer ended in a traceback."""
    gateway = start(max_concurrent=1, max_waiting=4)
    request = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(BODY)) + BODY
    with sent(gateway) as connection:
        transport.wait_for(1)
        connection.sendall(2 * request)
        time.sleep(0.1)  # so that they are read, where they are read before the connection ends
    assert transport.called_off.wait(PATIENCE)
    transport.let_go.set()
    assert gateway.post(PATH, content=BODY).status_code == 200
    assert len(transport.requests) == 2, "the first one, and that of the other client"
    assert 'status="200"} 1.0' in wait_until(gateway, "in_flight 0.0")
    assert "Traceback" not in caplog.text


def test_what_refuses_a_request_is_not_taken_for_the_answer_to_the_one_before(start: Start, transport: Held) -> None:
    gateway = start(max_concurrent=1, timeout=PATIENCE)
    chunks = b"POST %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n" % PATH.encode()
    with sent(gateway) as connection:
        transport.wait_for(1)
        connection.sendall(chunks)
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                received += part
    assert received == b""
    transport.let_go.set()
