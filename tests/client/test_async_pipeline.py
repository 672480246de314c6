import asyncio
import threading

import pytest

from maskserve import AsyncPipeline, Failure
from maskserve.errors import InvalidImage, InvalidParameter, ServerUnavailable
from maskserve.pipeline import Pipeline


@pytest.fixture
def collect(transport):
    """All results of an asynchronous `predict`, as numbers."""

    def collect(*arguments, concurrency=4, **named):
        async def run():
            async with AsyncPipeline(Pipeline("tiny", transport, concurrency=concurrency)) as pipeline:
                return [outcome async for outcome in pipeline.predict(*arguments, **named)]

        return asyncio.run(run())

    return collect


def values(results):
    return [round(float(result.scores[0]) * 255) for result in results]


def test_results_keep_the_order_of_the_input(collect, transport, grey):
    assert values(collect([grey(n) for n in range(20)], threshold=0.1)) == list(range(20))
    assert {request.threshold for _, request in transport.requests} == {0.1}
    assert transport.closed


def test_an_asynchronous_source(collect, grey):
    async def camera():
        for n in range(5):
            await asyncio.sleep(0)
            yield [grey(n), {"img": grey(n + 100)}]

    assert values(collect(camera())) == [0, 100, 1, 101, 2, 102, 3, 103, 4, 104]


def test_bad_pictures(collect, grey, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"text")
    source = [grey(1), tmp_path / "bad.jpg", grey(3)]
    assert values(collect(source, on_error="skip")) == [1, 3]
    assert isinstance(collect(source, on_error="return")[1], Failure)
    with pytest.raises(InvalidImage, match=r"bad\.jpg: not an image"):
        collect(source)


def test_arguments_without_sense(collect, grey):
    with pytest.raises(InvalidParameter, match="threshold"):
        collect(grey(), threshold="x")


def test_a_server_that_goes_away(collect, transport, grey):
    def gone(_):
        raise ServerUnavailable("gone")

    transport.respond = gone
    with pytest.raises(ServerUnavailable):
        collect([grey()] * 8, on_error="skip")


def test_a_source_that_breaks_breaks_after_its_results(transport, grey):
    async def camera():
        yield grey(1)
        raise OSError("unplugged")

    async def run():
        seen = []
        with pytest.raises(OSError, match="unplugged"):
            async for result in AsyncPipeline(Pipeline("tiny", transport)).predict(camera()):
                seen.append(result)
        return seen

    assert values(asyncio.run(run())) == [1]


def test_the_loop_stays_free(transport, grey):
    """A request hangs until the loop has done something else."""
    done, find = threading.Event(), transport.find

    def respond(request):
        assert done.wait(20)
        return find(request)

    async def run():
        async def other():
            done.set()

        pipeline = AsyncPipeline(Pipeline("tiny", transport))
        results = asyncio.create_task(anext(pipeline.predict(grey(5))))
        await asyncio.sleep(0.05)
        await other()
        return await results

    transport.respond = respond
    assert values([asyncio.run(run())]) == [5]


def test_leaving_early_and_cancelling(transport, grey):
    hold, find = threading.Event(), transport.find

    def respond(request):
        hold.wait(20)
        return find(request)

    async def run():
        pipeline = AsyncPipeline(Pipeline("tiny", transport, concurrency=2))
        results = pipeline.predict([grey(n) for n in range(50)])
        assert values([await anext(results)]) == [0]
        await results.aclose()
        transport.respond = respond
        task = asyncio.create_task(anext(pipeline.predict([grey()] * 50)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hold.set()

    asyncio.run(run())
    assert len(transport.requests) < 20
