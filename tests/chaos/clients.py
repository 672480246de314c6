"""Clients that ask without a pause, ask again after a retriable error, and compare each answer with the right one."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from maskserve import create_pipeline
from maskserve.errors import ModelNotReady, RequestTimeout, ServerUnavailable
from tests.conftest import ROOT

THRESHOLD = 0.1
DEADLINE = 10.0  # seconds for one attempt
_SLACK = 2.0  # seconds more that an attempt may take on a busy machine
_PAUSE = 0.1
# What an error must be for the caller to know that asking again makes sense.
_RETRIABLE = (ServerUnavailable, ModelNotReady, RequestTimeout)
_RETRIABLE_STATUS = (502, 503, 504)
Answer = Any
Ask = Callable[[Path], Answer]


class Retriable(Exception):
    """An error that says: ask again."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that has ended.

    Attributes:
        client: the number of the client.
        began: the time, of the monotonic clock.
        ended: likewise.
        outcome: "right", "retriable", or what was wrong.
    """

    client: int
    began: float
    ended: float
    outcome: str

    @property
    def hung(self) -> bool:
        """Whether it took longer than its deadline allows."""
        return self.ended - self.began > DEADLINE + _SLACK


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server is: over gRPC, over HTTP, and its REST service."""

    grpc: str
    http: str
    rest: str


def images() -> list[Path]:
    return sorted((ROOT / "demo" / "photos").glob("*.jpg"))


@contextmanager
def asking(model: str, url: str) -> Iterator[Ask]:
    """A client of maskserve, without retries of its own."""
    with create_pipeline(model, url=url, threshold=THRESHOLD, timeout=DEADLINE, retries=0) as pipeline:

        def ask(image: Path) -> Answer:
            try:
                result = pipeline.segment(image)
            except _RETRIABLE as error:
                raise Retriable(str(error)) from error
            return result["boxes"], result.instances.masks

        yield ask


@contextmanager
def asking_rest(url: str) -> Iterator[Ask]:
    """A client of the REST service."""
    with httpx.Client(base_url=url, timeout=DEADLINE, trust_env=False) as client:

        def ask(image: Path) -> Answer:
            body = {"image": base64.b64encode(image.read_bytes()).decode(), "visualize": False, "threshold": THRESHOLD}
            try:
                answer = client.post("/instance-segmentation", json=body)
            except httpx.TransportError as error:
                raise Retriable(repr(error)) from error
            if answer.status_code in _RETRIABLE_STATUS:
                raise Retriable(answer.text)
            assert answer.status_code == 200, answer.text
            return answer.json()["result"]["instances"]

        yield ask


class Load:
    """Four clients, from the beginning of a `with` statement to its end: two over gRPC, one over HTTP, one over REST.

    Attributes:
        attempts: those that have ended so far.
    """

    def __init__(self, model: str, addresses: Addresses) -> None:
        self.attempts: list[Attempt] = []
        self._enough = threading.Event()
        self._clients = [
            lambda: asking(model, addresses.grpc),
            lambda: asking(model, addresses.grpc),
            lambda: asking(model, addresses.http),
            lambda: asking_rest(addresses.rest),
        ]
        self._expected: list[Sequence[Answer]] = []
        for client in self._clients:
            with client() as ask:
                self._expected.append([ask(image) for image in images()])
        self._threads = [threading.Thread(target=self._go_on, args=(n,)) for n in range(len(self._clients))]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def back_since(self, event: float) -> float | None:
        """Return when the last client was served again after `event`; None while one is not.

        A client is served again when a request that it began after its last failure has been answered.
        """
        found = []
        for number in range(len(self._clients)):
            later = [a for a in list(self.attempts) if a.client == number and a.ended > event]
            failures = [attempt.ended for attempt in later if attempt.outcome != "right"]
            served = [a.ended for a in later if a.outcome == "right" and a.began > max([event, *failures])]
            if not served:
                return None
            found.append(min(served))
        return max(found)

    def _go_on(self, number: int) -> None:
        pairs = list(zip(images(), self._expected[number], strict=True))
        with self._clients[number]() as ask:
            turn = number
            while not self._enough.is_set():
                image, expected = pairs[turn % len(pairs)]
                began = time.monotonic()
                try:
                    outcome = "right" if ask(image) == expected else f"another answer for {image.name}"
                except Retriable:
                    outcome = "retriable"
                except Exception as error:
                    outcome = f"{type(error).__name__}: {error}"
                self.attempts.append(Attempt(number, began, time.monotonic(), outcome))
                if outcome == "right":
                    turn += 1
                else:
                    self._enough.wait(_PAUSE)
