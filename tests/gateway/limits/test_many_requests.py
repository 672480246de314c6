"""How many requests are taken in at once, and how the others are turned away."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from starlette.responses import Response

from maskserve.errors import ServerOverloaded
from maskserve.transport.wire import ImageRequest, Tensor
from maskserve_gateway import segmentation
from maskserve_gateway.errors import Refusal
from maskserve_gateway.limits import ConcurrencyLimiter
from maskserve_gateway.overload import Turnstile
from tests.gateway.conftest import PATH, Start, envelope
from tests.gateway.limits.conftest import BODY, PATIENCE, Held, read_answer, sent, wait_until


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
