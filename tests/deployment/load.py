"""Clients that ask without a pause, without retries of their own, and compare each answer with what it should be."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from maskserve import create_pipeline
from maskserve.errors import MaskserveError, ServerError
from maskserve.results import InstanceSegResult
from tests.conftest import ROOT
from tests.deployment.fleet import MODEL

THRESHOLD = 0.1
InputImage = Any  # the path of a file, or pixels [height, width, 3]


def images() -> list[InputImage]:
    """Images as files, and one as pixels (6 MB): what is larger than a proxy's buffer must survive, too."""
    images = [str(path) for path in sorted((ROOT / "demo" / "photos").glob("*.jpg"))]
    pixels = cv2.imread(images[0])
    assert pixels is not None
    return [*images, *images, np.ascontiguousarray(cv2.resize(pixels, (1920, 1080)))]


def answers(url: str, of: Sequence[InputImage]) -> list[tuple[Any, Any]]:
    """What a server says of each image."""
    with create_pipeline(MODEL, url=url, threshold=THRESHOLD, concurrency=1) as pipeline:
        return [_content(result) for result in pipeline.predict(list(of))]


def _content(result: Any) -> tuple[Any, Any]:
    assert isinstance(result, InstanceSegResult)
    return result["boxes"], result.instances.masks


@dataclass(frozen=True, slots=True)
class Request:
    """One request that has ended.

    Attributes:
        ended: the time, of the monotonic clock.
        seconds: how long it took.
        problem: why it was lost, or that its answer was another one than expected; None where all is well.
        with_server: whether it was lost while a server had it, and so is asked of no other one.
    """

    ended: float
    seconds: float
    problem: str | None
    with_server: bool = False


class Load:
    """A client on each of `urls`, from the beginning of a `with` statement to its end.

    Attributes:
        requests: those that have ended so far.
    """

    def __init__(self, urls: Sequence[str], of: Sequence[InputImage], expected: Sequence[tuple[Any, Any]]) -> None:
        self.requests: list[Request] = []
        self._pairs = list(zip(of, expected, strict=True))
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url, n)) for n, url in enumerate(urls)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    @property
    def problems(self) -> list[str]:
        """What went wrong, if anything, but for what was lost with a server."""
        return [request.problem for request in self.requests if request.problem and not request.with_server]

    @property
    def lost(self) -> int:
        """How many requests were with a server that ended."""
        return sum(request.with_server for request in self.requests)

    def wait_for(self, count: int, timeout: float = 120.0) -> None:
        """Wait until `count` more requests have ended."""
        wanted = len(self.requests) + count
        deadline = time.monotonic() + timeout
        while len(self.requests) < wanted:
            assert time.monotonic() < deadline, f"{len(self.requests)} of {wanted} requests ended in {timeout:.0f} s"
            time.sleep(0.02)

    def rate(self, begin: float, end: float) -> float:
        """Requests answered a second, between two times."""
        return sum(begin <= request.ended < end for request in self.requests) / (end - begin)

    def _ask(self, url: str, number: int) -> None:
        with create_pipeline(MODEL, url=url, threshold=THRESHOLD, concurrency=1, retries=0) as pipeline:
            while not self._enough.is_set():
                image, expected = self._pairs[number % len(self._pairs)]
                number += 1
                begin, problem, lost = time.monotonic(), None, False
                try:
                    (result,) = pipeline.predict(image)
                    if _content(result) != expected:
                        problem = "another answer than the servers'"
                except MaskserveError as error:
                    problem = f"{type(error).__name__}: {error}"
                    lost = isinstance(error, ServerError) and error.lost
                end = time.monotonic()
                self.requests.append(Request(end, end - begin, problem, lost))
