"""`segment`: one image in, its result out, without a stream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.client.conftest import FakeTransport, values

from maskserve import AsyncPipeline
from maskserve.errors import InputError, InvalidImage, InvalidParameter, ServerUnavailable
from maskserve.pipeline import Pipeline
from maskserve.results import InstanceSegResult
from maskserve.transport.cancellation import CalledOff
from maskserve.transport.wire import ImageRequest, Tensor

Segment = Callable[..., InstanceSegResult]
PATIENCE = 20


@pytest.fixture(params=["Pipeline", "AsyncPipeline"])
def segment(request: pytest.FixtureRequest, transport: FakeTransport) -> Segment:
    """`segment` of a pipeline of either kind, which has a threshold of its own."""
    pipeline = Pipeline("tiny", transport, threshold=0.25)
    if request.param == "Pipeline":
        return pipeline.segment
    return lambda *given, **named: asyncio.run(AsyncPipeline(pipeline).segment(*given, **named))


def test_every_kind_of_one_image(segment: Segment, grey: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), grey(7))
    pixels = grey(7)
    for image in (pixels, path, str(path), path.read_bytes(), {"img": pixels}, [pixels], Image.fromarray(pixels)):
        assert values([segment(image)]) == [7]


def test_the_arguments_reach_the_server(segment: Segment, transport: FakeTransport, grey: Callable[..., Any]) -> None:
    segment(grey(), threshold=0.5, class_ids=1, labels="car", headers={"X-Trace": "1"})
    segment(grey())
    first, second = (request for _, request in transport.requests)
    assert (first.threshold, first.class_ids, dict(first.headers)) == (0.5, (1, 2), {"X-Trace": "1"})
    assert (second.threshold, second.class_ids, dict(second.headers)) == (0.25, None, {})


@pytest.mark.parametrize("count", [0, 2, 3])
def test_what_is_not_one_image_is_refused(
    segment: Segment, transport: FakeTransport, grey: Callable[..., Any], tmp_path: Path, count: int
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), grey())
    sources = [[grey()] * count, iter([grey()] * count), *([folder] if count else [])]
    for source in sources:
        with pytest.raises(InvalidParameter, match=r"one image.*predict\(\)"):
            segment(source)
    assert not transport.requests


def test_several_pages_are_not_one_image(segment: Segment, transport: FakeTransport, tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (1, 2)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InvalidParameter, match=r"scan\.tif.*one image"):
        segment(tmp_path / "scan.tif")
    assert not transport.requests


def test_what_cannot_be_segmented_is_raised_with_its_name(
    segment: Segment, transport: FakeTransport, grey: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"text")
    with pytest.raises(InvalidImage, match=r"bad\.jpg: not an image"):
        segment(tmp_path / "bad.jpg")
    with pytest.raises(InputError, match="int is not an image"):
        segment(-3)
    with pytest.raises(InvalidParameter, match="threshold"):
        segment(grey(), threshold="x")


def test_a_server_that_is_gone_for_a_moment_is_asked_again(
    segment: Segment, transport: FakeTransport, grey: Callable[..., Any]
) -> None:
    find = transport.find

    def respond(request: ImageRequest) -> list[Tensor]:
        if len(transport.requests) == 1:
            raise ServerUnavailable("gone")
        return find(request)

    transport.respond = respond
    assert values([segment(grey(9))]) == [9]


def test_an_array_is_segmented_as_it_was_when_it_was_given(transport: FakeTransport, grey: Callable[..., Any]) -> None:
    async def run() -> InstanceSegResult:
        image = grey(5)
        waiting = asyncio.ensure_future(AsyncPipeline(Pipeline("tiny", transport)).segment(image))
        await asyncio.sleep(0)  # the task has begun
        image[:] = 99
        return await waiting

    assert values([asyncio.run(run())]) == [5]


def test_cancelling_calls_the_request_off(transport: FakeTransport, grey: Callable[..., Any]) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def respond(request: ImageRequest) -> list[Tensor]:
        assert request.cancellation is not None
        with request.cancellation.watched(stopped.set):
            begun.set()
            assert stopped.wait(PATIENCE)
        raise CalledOff("called off")

    async def run() -> None:
        task = asyncio.ensure_future(AsyncPipeline(Pipeline("tiny", transport)).segment(grey()))
        await asyncio.to_thread(begun.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    transport.respond = respond
    asyncio.run(run())
    assert stopped.is_set()
    assert len(transport.requests) == 1, "who has gone is asked for nothing again"


def test_no_thread_is_started_for_an_image(transport: FakeTransport, grey: Callable[..., Any]) -> None:
    seen: list[str] = []

    def respond(request: ImageRequest) -> list[Tensor]:
        seen.extend(thread.name for thread in threading.enumerate() if thread.name.startswith("maskserve"))
        return transport.find(request)

    transport.respond = respond
    pipeline = Pipeline("tiny", transport)
    assert values([pipeline.segment(grey(1))]) == [1]
    assert values([asyncio.run(AsyncPipeline(pipeline).segment(grey(2)))]) == [2]
    assert seen == []


def test_an_asynchronous_source_is_refused(transport: FakeTransport, grey: Callable[..., Any]) -> None:
    async def camera() -> AsyncIterator[Any]:
        yield grey()

    with pytest.raises(InputError, match=r"async_generator is read asynchronously: give it to AsyncPipeline\.predict"):
        asyncio.run(AsyncPipeline(Pipeline("tiny", transport)).segment(camera()))
