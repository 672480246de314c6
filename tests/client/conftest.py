"""A transport that answers without a server, and answers made to measure."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from maskserve import contract
from maskserve.errors import InvalidImage
from maskserve.masks import encode_crop
from maskserve.pipeline import Pipeline
from maskserve.transport.base import ServedModel, ServerStatus
from maskserve.transport.wire import ImageRequest, Tensor

LABELS = ["person", "bicycle", "car"]
Found = tuple[int, float, tuple[float, float, float, float]]


def strings(name: str, values: Sequence[bytes]) -> Tensor:
    return Tensor(name, "BYTES", (len(values),), b"".join(struct.pack("<I", len(v)) + v for v in values))


def numbers(name: str, datatype: str, values: Any, shape: tuple[int, ...]) -> Tensor:
    dtype = {"FP32": "<f4", "INT32": "<i4"}[datatype]
    return Tensor(name, datatype, shape, np.array(values, dtype).reshape(shape).tobytes())


def make_answer(found: Sequence[Found], size: tuple[int, int]) -> list[Tensor]:
    """The answer for instances (class, score, box), their masks the left half of the box's window."""
    count, windows, counts = len(found), [], []
    for _, _, (x0, y0, x1, y1) in found:
        left, top = round(max(0, x0)), round(max(0, y0))
        width, height = round(min(size[1], x1)) - left, round(min(size[0], y1)) - top
        crop = np.zeros((height, width), np.uint8)
        crop[:, : width // 2] = 1
        windows.append((left, top, width, height))
        counts.append(encode_crop(crop))
    return [
        numbers(contract.BOXES, "FP32", [f[2] for f in found], (count, 4)),
        numbers(contract.SCORES, "FP32", [f[1] for f in found], (count,)),
        numbers(contract.LABELS, "INT32", [f[0] for f in found], (count,)),
        strings(contract.MASKS, counts),
        numbers(contract.MASK_BOXES, "INT32", windows, (count, 4)),
        numbers(contract.IMAGE_SIZE, "INT32", size, (2,)),
    ]


def values(results: Iterable[Any]) -> list[int]:
    """The scores of `FakeTransport`'s answers: the values of the grey images that were asked for."""
    return [round(float(result.scores[0]) * 255) for result in results]


def png(value: int) -> bytes:
    """A PNG file of one value."""
    return cv2.imencode(".png", np.full((6, 8, 3), value, np.uint8))[1].tobytes()


class FakeTransport:
    """Finds in every image one "car" as large as the image, whose score tells the first pixel's blue."""

    url = "fake://server"

    def __init__(self) -> None:
        self.requests: list[tuple[str, ImageRequest]] = []
        self.config_calls = 0
        self.closed = False
        self.served = [ServedModel("tiny", "READY"), ServedModel("tiny.core", "READY")]
        self.respond: Callable[[ImageRequest], list[Tensor]] = self.find
        self._lock = threading.Lock()

    def find(self, request: ImageRequest) -> list[Tensor]:
        image = cv2.imdecode(np.frombuffer(request.image, np.uint8), cv2.IMREAD_COLOR) if request.image else None
        if image is None:
            raise InvalidImage("not an image")
        height, width = image.shape[:2]
        return make_answer([(2, image[0, 0, 0] / 255, (0.0, 0.0, float(width), float(height)))], (height, width))

    def infer(self, model: str, request: ImageRequest) -> list[Tensor]:
        with self._lock:
            self.requests.append((model, request))
        return self.respond(request)

    def model_config(self, model: str) -> dict[str, Any]:
        self.config_calls += 1
        return {"parameters": {contract.PARAMETER_LABELS: {"string_value": json.dumps(LABELS)}}}

    def models(self) -> list[ServedModel]:
        return self.served

    def status(self) -> ServerStatus:
        return ServerStatus("triton", "2.51.0", ready=True)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def late(transport: FakeTransport) -> Callable[..., Any]:
    """The server answers nothing before the whole source was taken: whatever is read late is read too late."""
    find, all_taken = transport.find, threading.Event()

    def respond(request: ImageRequest) -> list[Tensor]:
        assert all_taken.wait(20)
        return find(request)

    transport.respond = respond

    def then(source: Iterable[Any]) -> Iterator[Any]:
        yield from source
        all_taken.set()

    then.release = all_taken.set  # type: ignore[attr-defined]
    return then


@pytest.fixture
def pipeline(transport: FakeTransport) -> Pipeline:
    return Pipeline("tiny", transport)


@pytest.fixture
def answer() -> Callable[[Sequence[Found], tuple[int, int]], list[Tensor]]:
    return make_answer


@pytest.fixture
def result_of(transport: FakeTransport) -> Callable[..., Any]:
    """The result for an image, given what the server finds in it."""

    def result(source: Any, found: Sequence[Found], size: tuple[int, int], generation: str = "3.0b2") -> Any:
        transport.respond = lambda _: make_answer(found, size)
        (result,) = Pipeline("tiny", transport, generation=generation).predict(source)
        return result

    return result


@pytest.fixture
def grey() -> Callable[..., np.ndarray]:
    """An image of one value, [h, w, 3]."""
    return lambda value=255, height=6, width=8: np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def run(transport: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`maskserve predict` on a fake server: exit status, standard output, standard error."""
    from maskserve_tools.cli import main

    monkeypatch.setattr("maskserve._create.open_transport", lambda _: transport)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["predict", "--pipeline", "tiny", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run
