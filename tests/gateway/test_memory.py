"""What requests take together: never more than the budget, and it is given back."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskserve.errors import ImageTooLarge
from maskserve_gateway.errors import Refusal
from maskserve_gateway.memory import MemoryBudget, Share, drawing_bytes
from tests.client.conftest import FakeTransport, make_answer
from tests.examples import examples
from tests.gateway.big_images import png
from tests.gateway.conftest import PATH, Start, as_base64, encoded, envelope

PATIENCE = 30


def test_who_finds_too_little_waits_in_a_line() -> None:
    async def story() -> list[str]:
        budget, ended = MemoryBudget(100, PATIENCE), list[str]()
        first = budget.share()
        await first.grow(80)

        async def want(name: str, amount: int, reading: bool) -> Share:
            share = budget.share()
            await share.grow(amount, reading=reading)
            ended.append(name)
            return share

        tasks = [asyncio.ensure_future(want(*who)) for who in (("read", 10, True), ("a", 70, False), ("b", 10, False))]
        await asyncio.sleep(0)
        assert not ended  # "b" does not go before "a", though there is room for it
        first.close()
        first.close()
        shares = [await task for task in tasks[1:]]
        assert ended == ["a", "b"]
        assert not tasks[0].done()
        for share in shares:
            share.close()
        await tasks[0]
        assert budget.used == 10
        return ended

    assert asyncio.run(story()) == ["a", "b", "read"]


def test_who_waits_too_long_is_turned_away() -> None:
    async def story() -> None:
        budget = MemoryBudget(100, 0.05)
        first, second = budget.share(), budget.share()
        await first.grow(100)
        with pytest.raises(Refusal) as caught:
            await second.grow(1)
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "1"})
        first.close()
        await second.grow(100)

    asyncio.run(story())


def test_what_never_fits_is_refused_at_once() -> None:
    async def story() -> None:
        share = MemoryBudget(100, PATIENCE).share()
        await share.grow(50, reading=True)
        with pytest.raises(ImageTooLarge, match=r"takes more than 50 bytes of memory"):
            await share.grow(1, reading=True)
        with pytest.raises(ImageTooLarge, match=r"takes more than 100 bytes of memory"):
            await share.grow(51)

    asyncio.run(story())


@settings(max_examples=examples(60))
@given(
    st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.sampled_from(("keep", "cancel", "close"))), max_size=25)
)
def test_whatever_happens_the_books_are_right(steps: list[tuple[int, bool, str]]) -> None:
    async def story() -> None:
        budget, shares, tasks = MemoryBudget(100, PATIENCE), list[Share](), list[asyncio.Task[None]]()
        for amount, reading, then in steps:
            shares.append(budget.share())
            tasks.append(asyncio.ensure_future(shares[-1].grow(min(amount, 50), reading=reading)))
            await asyncio.sleep(0)
            if then == "cancel":
                tasks[len(tasks) // 2].cancel()
            if then == "close":
                for share in shares[::2]:
                    share.close()
            assert budget.used == sum(share.held for share in shares) <= 100
        while not all(task.done() for task in tasks):
            for share in shares:
                share.close()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        for share in shares:
            share.close()
        assert budget.used == 0

    asyncio.run(story())


def test_a_large_image_is_drawn_smaller(start: Start, transport: FakeTransport) -> None:
    transport.respond = lambda _: make_answer([(0, 0.9, (10.0, 20.0, 70.0, 60.0))], (80, 100))
    document = start(max_drawn_pixels=2000).post(PATH, json={"image": as_base64(encoded(80, 100))}).json()["result"]
    assert document["imageScale"] == 0.5
    assert document["instances"][0]["bbox"] == [10, 20, 70, 60]
    assert document["instances"][0]["mask"]["size"] == [40, 60]
    with Image.open(io.BytesIO(base64.b64decode(document["image"]))) as image:
        assert image.size == (50, 40)
        assert image.info["comment"] == b"drawn at 0.5 of the original size"
    whole = start(max_drawn_pixels=8000).post(PATH, json={"image": as_base64(encoded(80, 100))}).json()["result"]
    assert set(whole) == {"instances", "image"}


def test_an_image_that_takes_more_than_there_is(start: Start, transport: FakeTransport) -> None:
    transport.respond = lambda _: make_answer([], (1000, 1000))
    gateway = start(max_memory_bytes=2_000_000)
    image = as_base64(png(1000, 1000))
    words = "the request takes more than 2000000 bytes of memory, which is the limit; "
    words += "send a smaller image, or ask for no drawn one (visualize: false)"
    assert envelope(gateway.post(PATH, json={"image": image})) == (413, words)
    assert gateway.post(PATH, json={"image": image, "visualize": False}).status_code == 200
    words = words.replace("2000000", "1000000")
    assert envelope(gateway.post(PATH, content=b" " * 300_000)) == (413, words)


def test_everything_is_given_back(start: Start, transport: FakeTransport) -> None:
    gateway = start()
    service = start.services[-1]  # type: ignore[attr-defined]
    answers = [gateway.post(PATH, json={"image": image}) for image in (as_base64(encoded()), "?", "", 5)]
    assert [answer.status_code for answer in answers] == [200, 400, 400, 422]
    with socket.create_connection((gateway.base_url.host, gateway.base_url.port or 80)) as connection:
        connection.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{" % PATH.encode())
        wait_until(lambda: service.memory.used == 5)
    wait_until(lambda: service.memory.used == 0)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def process(**options: object) -> Iterator[tuple[psutil.Process, str]]:
    """A gateway in a process of its own, and its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "tests.gateway.big_images", str(port), json.dumps(options)]
    with subprocess.Popen(line) as popen:
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + PATIENCE
            while True:
                with contextlib.suppress(httpx.ConnectError):
                    httpx.get(f"{url}/openapi.json", trust_env=False)
                    break
                assert popen.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield psutil.Process(popen.pid), url
        finally:
            popen.terminate()


def post(url: str, side: int) -> httpx.Response:
    document = {"image": as_base64(png(side, side))}
    return httpx.post(f"{url}{PATH}", json=document, timeout=120, trust_env=False)


SIDE = 5000
BUDGET = 450 << 20
SPARE = 64 << 20


def test_the_peak() -> None:
    """Eight images of 25 megapixels at once, of which two fit; the process could not have a byte more than it says."""
    image = drawing_bytes(SIDE * SIDE, 4_000_000)
    assert 2 * image <= BUDGET < 3 * image
    with process(max_memory_bytes=BUDGET, max_drawn_pixels=4_000_000, wait_seconds=100) as (gateway, url):
        assert post(url, 100).status_code == 200
        rest = gateway.memory_info()
        most = rest.vms + BUDGET + SPARE
        resource.prlimit(gateway.pid, resource.RLIMIT_AS, (most, most))
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: post(url, SIDE), range(8)))
        assert [answer.status_code for answer in answers] == [200] * 8
        assert {answer.json()["result"]["imageScale"] for answer in answers} == {0.4}
        wait_until(lambda: gateway.memory_info().rss < rest.rss + SPARE)
