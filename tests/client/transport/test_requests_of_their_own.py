"""What belongs to one request only: its headers, and its being called off."""

import asyncio
import threading
import time

import pytest

from maskserve import AsyncPipeline, Failure, create_pipeline
from maskserve.transport.cancellation import CalledOff, Cancellation
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.wire import ImageRequest


def test_headers_of_one_predict_come_beside_those_of_the_pipeline(service, grey):
    with create_pipeline("tiny", url=service.url, headers={"X-Tenant": "a", "X-Both": "pipeline"}) as pipeline:
        list(pipeline.predict(grey(), headers={"Traceparent": "00-1", "X-Both": "predict"}))
        list(pipeline.predict(grey()))
    first, second = ({name.lower(): value for name, value in sent.items()} for sent in service.headers)
    assert (first["x-tenant"], first["x-both"], first["traceparent"]) == ("a", "predict", "00-1")
    assert (second["x-both"], "traceparent" in second) == ("pipeline", False)


def workers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("maskserve")]


def test_an_answer_that_nobody_waits_for_is_called_off(grpc_service, grey):
    async def give_up():
        async with AsyncPipeline(create_pipeline("slow", url=grpc_service.url)) as pipeline:
            results = pipeline.predict(grey())
            waiting = asyncio.ensure_future(anext(results))
            while not grpc_service.headers:
                await asyncio.sleep(0.01)
            (worker,) = workers()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await asyncio.to_thread(worker.join, 10)  # the server holds its answer for longer
            assert not worker.is_alive()

    asyncio.run(give_up())
    assert len(grpc_service.headers) == 1


def test_leaving_calls_off_what_is_under_way(service, grey):
    """Else the end of the program would wait for it, up to its timeout and for every repetition."""
    with create_pipeline("slow", url=service.url) as pipeline:
        outcomes = pipeline.predict(["missing.jpg", grey(), grey()], on_error="return")
        failure = next(outcomes)
        assert isinstance(failure, Failure)
        assert "no such file" in failure.error.message
        while len(service.headers) < 2:
            time.sleep(0.01)
        running = workers()
        outcomes.close()
        for worker in running:
            worker.join(10)  # the server holds its answer for longer
            assert not worker.is_alive()
    assert len(service.headers) == 2


def test_what_was_called_off_before_it_began_is_not_answered(service):
    cancellation = Cancellation()
    cancellation.call_off()
    transport = open_transport(parse_url(service.url))
    with pytest.raises(CalledOff):
        transport.infer("slow", ImageRequest(b"", cancellation=cancellation))
    transport.close()
