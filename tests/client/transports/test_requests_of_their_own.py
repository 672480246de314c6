"""What belongs to one request only: its headers, and its being called off."""

import asyncio
import threading

import pytest

from maskserve import AsyncPipeline, create_pipeline
from maskserve._cancellation import CalledOff, Cancellation
from maskserve._connect import open_transport
from maskserve._endpoint import parse_url
from maskserve._wire import ImageRequest


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


def test_what_was_called_off_before_it_began_is_not_answered(grpc_service):
    cancellation = Cancellation()
    cancellation.call_off()
    transport = open_transport(parse_url(grpc_service.url))
    with pytest.raises(CalledOff):
        transport.infer("slow", ImageRequest(b"", cancellation=cancellation))
    transport.close()
