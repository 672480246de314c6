"""A camera on a real server: results come while it is silent, and one canvas serves all its frames."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from maskserve import AsyncPipeline, create_pipeline
from maskserve.pipeline import Pipeline
from tests.end_to_end.conftest import WAYS, Where

if TYPE_CHECKING:
    from maskserve.results import InstanceSegResult

PATIENCE = 30


@pytest.fixture(scope="module", params=WAYS)
def pipeline(request: pytest.FixtureRequest, where: Where) -> Iterator[Pipeline]:
    model, url = where(request.param)
    with create_pipeline(model, url=url, threshold=0) as opened:
        yield opened


def frames(shown: threading.Semaphore) -> Iterator[Image.Image]:
    """Images on one canvas of PIL; each but the first waits for the result of the one before."""
    canvas = Image.new("RGB", (320, 240))
    for number in range(4):
        assert number == 0 or shown.acquire(timeout=PATIENCE)
        ramp = np.linspace(0, 255 - 60 * number, 240 * 320 * 3).reshape(240, 320, 3).astype(np.uint8)
        canvas.paste(Image.fromarray(ramp))
        yield canvas


def found(result: InstanceSegResult) -> Any:
    return result["boxes"], result.instances.masks


@pytest.fixture(scope="module")
def expected(pipeline: Pipeline) -> list[Any]:
    shown = threading.Semaphore(PATIENCE)
    answers = [found(next(pipeline.predict(frame.copy()))) for frame in frames(shown)]
    assert len({str(answer) for answer in answers}) > 1  # else the test could not tell frames apart
    return answers


def test_a_camera_that_waits_for_each_result(pipeline: Pipeline, expected: list[Any]) -> None:
    shown, answers = threading.Semaphore(0), []
    for result in pipeline.predict(frames(shown)):
        answers.append(found(result))
        shown.release()
    assert answers == expected


def test_such_a_camera_in_an_asynchronous_program(pipeline: Pipeline, expected: list[Any]) -> None:
    async def run() -> list[Any]:
        shown, answers = threading.Semaphore(0), []
        async for result in AsyncPipeline(pipeline).predict(frames(shown)):
            answers.append(found(result))
            shown.release()
        return answers

    assert asyncio.run(run()) == expected


def test_one_canvas_for_all_frames(pipeline: Pipeline, expected: list[Any]) -> None:
    """Nothing waits: the frames are taken faster than they are answered."""
    results = pipeline.predict(frames(threading.Semaphore(PATIENCE)), batch_size=4)
    assert [found(result) for result in results] == expected


def test_the_first_class_is_a_class(pipeline: Pipeline) -> None:
    frame = next(frames(threading.Semaphore(0)))
    (everything,) = pipeline.predict(frame)
    assert len(everything.instances) > 0
    same: list[Any] = [0, np.int64(0), np.array([0]), [0]]
    for given in same:
        (result,) = pipeline.predict(frame, class_ids=given)
        assert found(result) == found(everything.filter(class_ids=given))
        assert len(result.instances) > 0
