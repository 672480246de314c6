"""`predict(x=...)`, as PaddleX's documentation has it, beside `input`."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from tests.client.conftest import FakeTransport, values

from maskserve.async_pipeline import AsyncPipeline
from maskserve.errors import InputError
from maskserve.pipeline import Pipeline

IMAGE = np.full((6, 8, 3), 200, np.uint8)


def test_both_names_mean_the_same(pipeline: Pipeline) -> None:
    assert values(pipeline.predict(x=[IMAGE, IMAGE])) == values(pipeline.predict(input=[IMAGE, IMAGE])) == [200, 200]
    assert values(pipeline(x=IMAGE)) == values(pipeline.predict(IMAGE)) == [200]


def test_in_an_event_loop(pipeline: Pipeline) -> None:
    async def run() -> list[Any]:
        return [result async for result in AsyncPipeline(pipeline).predict(x=[IMAGE, IMAGE])]

    assert values(asyncio.run(run())) == [200, 200]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({}, "got nothing"), ({"input": IMAGE, "x": IMAGE}, "got both"), ({"x": None}, "NoneType is not an image")],
)
def test_one_of_them(arguments: dict[str, Any], words: str, pipeline: Pipeline, transport: FakeTransport) -> None:
    with pytest.raises(InputError, match=words):
        list(pipeline.predict(**arguments))
    assert transport.requests == []
