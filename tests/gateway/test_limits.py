"""How much is taken in at once, and what happens to the rest."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse

import httpx
import pytest
from starlette.responses import Response

from maskserve.errors import ServerOverloaded
from maskserve.transport.wire import ImageRequest, Tensor
from maskserve_gateway import segmentation
from maskserve_gateway.errors import Refusal
from maskserve_gateway.limits import ConcurrencyLimiter
from maskserve_gateway.overload import Turnstile
from tests.client.conftest import FakeTransport
from tests.gateway.conftest import PATH, Start, as_base64, encoded, envelope

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


def test_those_who_find_no_room_are_turned_away_at_once(start: Start, transport: Held) -> None:
    gateway = start(max_concurrent=1, max_waiting=1, wait_seconds=PATIENCE)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(gateway.post, PATH, content=BODY)
        transport.wait_for(1)
        with sent(gateway) as waiting:
            wait_until(gateway, "in_flight 2.0")
            response = gateway.post(PATH, content=BODY)
            assert envelope(response) == (503, "too many requests are being served; try again later")
            assert response.headers["retry-after"] == "1"
            transport.let_go.set()
            assert waiting.recv(15) == b"HTTP/1.1 200 OK"
        assert first.result().status_code == 200


@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"], ids=["sends on", "asks before sending"])
@pytest.mark.parametrize("path", [PATH, f"/models/tiny{PATH}"])
def test_a_head_is_enough_to_be_turned_away(start: Start, transport: Held, path: str, expects: bytes) -> None:
    """Who waits behind others that are refused waits for each of them: nothing is looked at but the head."""
    gateway = start(max_concurrent=1, max_waiting=0)
    with sent(gateway):
        transport.wait_for(1)
        with sent(gateway, b"") as connection:
            read_answer(connection)
            head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n%s\r\n"
            connection.sendall(head % (path.encode(), expects))
            answer = read_answer(connection)
        transport.let_go.set()
    assert answer.status == 503
    assert answer.headers["Retry-After"]


def test_who_is_turned_away_reaches_no_route() -> None:
    """Routes cost most of a refusal's time, and sixty clients that come together wait for sixty of them."""
    limiter = ConcurrencyLimiter(1, 0, PATIENCE, PATIENCE)
    passed: list[str] = []
    sent: list[dict[str, object]] = []

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        passed.append(f"{scope['method']} {scope['path']}")

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    def refused(scope: object, refusal: Refusal) -> Response:
        return Response("", refusal.status, dict(refusal.headers))

    async def scene(keys: tuple[str, ...]) -> None:
        turnstile = Turnstile(app, PATH, limiter, keys, refused)  # type: ignore[arg-type]
        with limiter.present():
            for method, path in (("POST", PATH), ("POST", f"/models/a{PATH}"), ("GET", PATH), ("GET", "/health")):
                scope = {"type": "http", "method": method, "path": path, "headers": []}
                await turnstile(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(scene(()))
    assert passed == [f"GET {PATH}", "GET /health"]
    assert [message["status"] for message in sent if "status" in message] == [503, 503]
    passed.clear()
    asyncio.run(scene(("secret",)))
    assert len(passed) == 4  # who has no key is told that, and not how busy it is


def test_a_page_may_read_that_it_is_turned_away(start: Start, transport: Held) -> None:
    gateway = start(max_concurrent=1, max_waiting=0, allow_origins=["https://app.example.org"])
    with sent(gateway):
        transport.wait_for(1)
        answer = gateway.post(PATH, content=BODY, headers={"Origin": "https://app.example.org"})
        transport.let_go.set()
    assert answer.status_code == 503
    assert answer.headers["access-control-allow-origin"] == "https://app.example.org"


def test_who_has_no_key_is_not_told_how_busy_it_is(
    start: Start, transport: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKSERVE_API_KEY", "secret")
    gateway = start(max_concurrent=1, max_waiting=0)
    key = {"X-API-Key": "secret"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(gateway.post, PATH, content=BODY, headers=key)
        transport.wait_for(1)
        assert gateway.post(PATH, content=BODY).status_code == 401
        assert gateway.post(PATH, content=BODY, headers=key).status_code == 503
        transport.let_go.set()
        assert first.result().status_code == 200


def test_those_who_wait_too_long_are_turned_away(start: Start, transport: Held) -> None:
    gateway = start(max_concurrent=1, wait_seconds=0.1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(gateway.post, PATH, content=BODY)
        transport.wait_for(1)
        assert envelope(gateway.post(PATH, content=BODY))[0] == 503
        transport.let_go.set()
        assert first.result().status_code == 200
    assert gateway.post(PATH, content=BODY).status_code == 200


def test_no_more_than_so_many_are_with_the_server(start: Start, transport: Held) -> None:
    gateway = start(max_concurrent=2)
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(gateway.post, PATH, content=BODY) for _ in range(6)]
        transport.wait_for(2)
        assert not transport.arrived.acquire(timeout=0.2)
        transport.let_go.set()
        assert [answer.result().status_code for answer in answers] == [200] * 6


def test_who_has_waited_is_not_refused_late(start: Start, transport: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose queue is shorter than the gateway takes it to be: it has a place when it has answered another."""
    infer, lock, inside, places, refused = transport.infer, threading.Lock(), [0], [1], threading.Semaphore(0)

    def one_place(model: str, request: ImageRequest) -> list[Tensor]:
        with lock:
            if inside[0] >= places[0]:
                refused.release()
                raise ServerOverloaded("1 requests wait already; send fewer at once, or try again in 7 s")
            inside[0] += 1
        try:
            return infer(model, request)
        finally:
            with lock:
                inside[0] -= 1

    monkeypatch.setattr(transport, "infer", one_place)
    monkeypatch.setattr(segmentation, "_AT_ONCE", 0.0)
    gateway = start(max_concurrent=2, wait_seconds=PATIENCE)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(gateway.post, PATH, content=BODY) for _ in range(3)]
        transport.wait_for(1)
        assert refused.acquire(timeout=PATIENCE)
        assert not any(answer.done() for answer in answers)
        transport.let_go.set()
        assert [answer.result().status_code for answer in answers] == [200] * 3
    places[0] = 0  # nobody of ours is there whose end could be waited for
    assert gateway.post(PATH, content=BODY).status_code == 503


def test_few_bodies_are_read_at_once(start: Start, transport: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that read keep the event loop from refusing others."""
    transport.let_go.set()
    read, lock, now, most = segmentation._read, threading.Lock(), [0], [0]

    def counted(body: list[bytes], *, strict: bool) -> tuple[segmentation.Asked, bytes | str]:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        try:
            return read(body, strict=strict)
        finally:
            with lock:
                now[0] -= 1

    monkeypatch.setattr(segmentation, "_read", counted)
    gateway = start()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gateway.post(PATH, content=BODY).status_code, range(8)))
    assert answers == [200] * 8
    assert most[0] <= 2


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


def test_other_routes_answer_meanwhile(start: Start, transport: Held) -> None:
    gateway = start(max_concurrent=1, max_waiting=0)
    with sent(gateway):
        transport.wait_for(1)
        assert gateway.get("/info").status_code == 200
        assert gateway.get("/openapi.json").status_code == 200
    transport.let_go.set()


@pytest.mark.parametrize(
    ("patience", "total", "let_in", "retry"), [(4.0, 60.0, 5, range(3, 7)), (60.0, 5.0, 4, range(3, 6))]
)
def test_who_would_not_be_answered_in_time_is_turned_away_at_once(
    patience: float, total: float, let_in: int, retry: range
) -> None:
    """With two under way and an answer a second, the third waits for one second, and so on.

    Who is refused is told to come back after a half of the time until the last one is answered, at the earliest.
    """
    now = [0.0]

    async def scene() -> tuple[int, str]:
        limiter = ConcurrencyLimiter(2, 100, patience, total, clock=lambda: now[0])
        for _ in range(20):  # it learns that an answer takes a second
            with limiter.present():
                async with limiter.turn():
                    now[0] += 1
        with ExitStack() as stack:
            entered = 0
            try:
                while True:
                    stack.enter_context(limiter.present())
                    entered += 1
            except Refusal as refusal:
                return entered, refusal.headers["Retry-After"]

    entered, seconds = asyncio.run(scene())
    assert entered == let_in
    assert int(seconds) in retry


def test_a_server_that_refuses_is_told_with_the_time_that_it_names(
    start: Start, transport: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [0]

    def full(model: str, request: ImageRequest) -> list[Tensor]:
        asked[0] += 1
        raise ServerOverloaded("40 requests wait already; send fewer at once, or try again in 7 s")

    monkeypatch.setattr(transport, "infer", full)
    answer = start().post(PATH, content=BODY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert "try again later" in answer.json()["errorMsg"]
    assert asked == [1]  # asking again would only make the refusal late
