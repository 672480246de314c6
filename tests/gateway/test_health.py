"""Health is an answer of the model, not an open port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from maskserve.errors import MaskserveError, ModelNotReady, RequestTimeout
from maskserve_gateway.health import Health
from tests.client.conftest import FakeTransport
from tests.gateway.conftest import PATH, Start, as_base64, encoded, envelope


class Model:
    """Counts the canaries, at a time of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.canaries = 0
        self.failure: MaskserveError | None = None
        self.hold: asyncio.Event | None = None
        self.health = Health(self.canary, seconds=10, timeout=5, clock=lambda: self.now)

    async def canary(self) -> None:
        self.canaries += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.failure is not None:
            raise self.failure


def run(scenario: Callable[[Model], object]) -> Model:
    model = Model()
    asyncio.run(scenario(model))  # type: ignore[arg-type]
    return model


def test_the_proof_is_kept_for_a_while() -> None:
    async def scenario(model: Model) -> None:
        for model.now in (100, 105, 110, 111):
            await model.health.check()

    assert run(scenario).canaries == 2


def test_an_answered_request_is_a_proof() -> None:
    async def scenario(model: Model) -> None:
        model.health.proved()
        await model.health.check()

    assert run(scenario).canaries == 0


def test_a_failure_is_kept_for_a_while_and_then_forgotten() -> None:
    async def scenario(model: Model) -> None:
        model.failure = ModelNotReady("its process has died")
        for model.now in (100, 105, 110):
            with pytest.raises(ModelNotReady):
                await model.health.check()
        model.failure, model.now = None, 111
        await model.health.check()

    assert run(scenario).canaries == 2


def test_an_answered_request_disproves_a_failure() -> None:
    async def scenario(model: Model) -> None:
        model.failure = ModelNotReady("gone for a moment")
        with pytest.raises(ModelNotReady):
            await model.health.check()
        model.health.proved()
        await model.health.check()

    assert run(scenario).canaries == 1


def test_canaries_do_not_pile_up() -> None:
    async def scenario(model: Model) -> None:
        model.hold = asyncio.Event()
        checks = [asyncio.ensure_future(model.health.check()) for _ in range(20)]
        await asyncio.sleep(0.01)
        checks[0].cancel()  # who asked first has gone, the others still want to know
        model.hold.set()
        await asyncio.gather(*checks[1:])

    assert run(scenario).canaries == 1


def test_a_model_that_hangs() -> None:
    async def scenario(model: Model) -> None:
        model.hold = asyncio.Event()
        model.health = Health(model.canary, seconds=10, timeout=0.05, clock=lambda: model.now)
        with pytest.raises(RequestTimeout):
            await model.health.check()

    run(scenario)


def test_the_route(start: Start, transport: FakeTransport) -> None:
    document = start().get("/health").json()
    assert document == {"logId": document["logId"], "errorCode": 0, "errorMsg": "Healthy"}
    assert len(transport.requests) == 1


def test_the_route_of_a_model_that_fails(start: Start, transport: FakeTransport) -> None:
    def fail(_: object) -> list[object]:
        raise ModelNotReady("its process at grpc://10.0.0.1 has died")

    transport.respond, find = fail, transport.respond  # type: ignore[assignment]
    gateway = start()
    assert envelope(gateway.get("/health")) == (503, "the model cannot answer now; try again later")
    transport.respond = find
    assert gateway.post(PATH, json={"image": as_base64(encoded())}).status_code == 200
    assert gateway.get("/health").status_code == 200


def test_images_that_are_bad_are_no_proof(gateway: httpx.Client, transport: FakeTransport) -> None:
    gateway.post(PATH, json={"image": as_base64(b"text")})
    assert gateway.get("/health").status_code == 200
    assert len(transport.requests) == 2


def test_the_test_image_is_painted(start: Start, transport: FakeTransport) -> None:
    """At the model's own threshold nothing is found in it, and what paints masks would not be tried."""
    assert start().get("/health").status_code == 200
    ((_, request),) = transport.requests
    assert request.threshold == 0.0
