"""Sources that take their time: a result is there as soon as its answer is, whatever the source does meanwhile."""

import asyncio
import contextvars
import threading
import time

import pytest
from tests.client.conftest import values

from maskserve import AsyncPipeline
from maskserve.errors import MaskserveError
from maskserve.pipeline import Pipeline

PATIENCE = 20  # seconds, after which a test that hangs fails


class Camera:
    """Gives frames 0, 1, 2, ...; each but the first only when somebody has `shown` the result of the one before."""

    def __init__(self, grey, count):
        self.grey, self.count = grey, count
        self.shown = threading.Semaphore(0)
        self.waited = True
        self.threads = set()
        self.ended_on = None

    def frames(self):
        try:
            for number in range(self.count):
                self.threads.add(threading.get_ident())
                self.waited = self.waited and (number == 0 or self.shown.acquire(timeout=PATIENCE))
                yield self.grey(number)
        finally:
            self.ended_on = threading.get_ident()


def test_a_source_may_wait_for_the_answer_to_what_it_gave(pipeline, grey):
    camera, seen = Camera(grey, 6), []
    for result in pipeline.predict(camera.frames()):
        seen += values([result])
        camera.shown.release()
    assert seen == list(range(6))
    assert camera.waited


def test_an_asynchronous_program_with_such_a_source(transport, grey):
    async def run():
        camera, seen = Camera(grey, 6), []
        async for result in AsyncPipeline(Pipeline("tiny", transport)).predict(camera.frames()):
            seen += values([result])
            camera.shown.release()
        return camera, seen

    camera, seen = asyncio.run(run())
    assert seen == list(range(6))
    assert camera.waited
    assert len(camera.threads) == 1
    assert camera.threads == {camera.ended_on}


def test_an_asynchronous_source_may_wait_for_the_answer(transport, grey):
    async def run():
        shown, seen = asyncio.Semaphore(0), []

        async def frames():
            for number in range(6):
                if number:
                    await asyncio.wait_for(shown.acquire(), PATIENCE)
                yield grey(number)

        async for result in AsyncPipeline(Pipeline("tiny", transport)).predict(frames()):
            seen += values([result])
            shown.release()
        return seen

    assert asyncio.run(run()) == list(range(6))


def test_a_source_is_advanced_and_closed_on_one_thread(pipeline, grey):
    camera = Camera(grey, 30)
    camera.shown.release(30)
    results = pipeline.predict(camera.frames())
    assert values([next(results), next(results)]) == [0, 1]
    results.close()
    assert len(camera.threads) == 1
    assert camera.threads == {camera.ended_on}


def test_the_thread_of_the_source_has_the_context_of_the_caller(pipeline, grey):
    name, seen = contextvars.ContextVar("name", default="nobody"), []

    def frames():
        seen.append(name.get())
        yield grey(1)

    name.set("caller")
    assert values(pipeline.predict(frames())) == [1]
    assert seen == ["caller"]


def test_what_was_taken_is_bounded_whatever_the_caller_does_meanwhile(transport, grey):
    taken, most = 0, 0

    def frames():
        nonlocal taken
        for number in range(100):
            taken += 1
            yield grey(number)

    for done, _ in enumerate(Pipeline("tiny", transport, concurrency=2).predict(frames())):
        deadline = time.monotonic() + 0.02  # so that the source could run away
        while time.monotonic() < deadline:
            most = max(most, taken - done)
    assert 2 <= most <= 8


def test_failures_do_not_wait_for_the_source_either(pipeline, grey):
    shown = threading.Event()

    def frames():
        yield b"text"
        assert shown.wait(PATIENCE)
        yield grey(2)

    outcomes = pipeline.predict(frames(), on_error="return")
    assert next(outcomes).error.message == "not an image"
    shown.set()
    assert values(outcomes) == [2]
    with pytest.raises(MaskserveError, match="not an image"):  # raised at once, though the source is silent
        next(pipeline.predict(iter([b"text"])))


def test_the_results_of_one_pipeline_are_the_source_of_another(pipeline, grey):
    found = pipeline.predict(grey(value) for value in range(30))
    assert values(pipeline.predict(grey(values([result])[0]) for result in found)) == list(range(30))


def test_an_asynchronous_source_that_breaks_late(transport, grey):
    async def frames():
        yield grey(1)
        await asyncio.sleep(0)
        raise OSError("unplugged")

    async def run():
        results = AsyncPipeline(Pipeline("tiny", transport)).predict(frames())
        assert values([await anext(results)]) == [1]
        with pytest.raises(OSError, match="unplugged"):
            await anext(results)

    asyncio.run(run())
