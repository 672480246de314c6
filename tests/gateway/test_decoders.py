"""The gateway draws upon images that processes of their own decode."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import partial

import cv2
import httpx
import numpy as np
import psutil
import pytest

from maskserve.decoding.limits import Limits
from tests.client.conftest import FakeTransport, make_answer
from tests.gateway.conftest import PATH, Start, as_base64, encoded, envelope
from tests.server.jpegs import encoded as jpeg


def decoders() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.name() == "maskserve-image"]


@pytest.fixture
def gateway(start: Start, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A gateway with decoders, whose server finds something in whatever it gets."""
    monkeypatch.setenv("MASKSERVE_DECODERS", "2")
    transport.respond = lambda _: make_answer([(2, 0.9, (0.0, 0.0, 40.0, 30.0))], (30, 40))
    yield start()


def test_images_are_decoded_in_processes_that_end_with_the_gateway(gateway: httpx.Client) -> None:
    assert not decoders()
    document = gateway.post(PATH, json={"image": as_base64(encoded())}).json()
    assert base64.b64decode(document["result"]["image"]).startswith(b"\xff\xd8")
    assert decoders()


def test_a_decoder_that_died_is_replaced(gateway: httpx.Client) -> None:
    for _ in range(3):
        assert gateway.post(PATH, json={"image": as_base64(encoded())}).status_code == 200
        for process in decoders():
            process.kill()
    assert gateway.post(PATH, json={"image": as_base64(encoded())}).status_code == 200


def test_an_image_that_ends_its_decoder_is_refused(
    start: Start, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here, over a limit of time that a large image does not keep."""
    monkeypatch.setenv("MASKSERVE_DECODERS", "2")
    monkeypatch.setattr("maskserve_gateway.service.Limits", partial(Limits, decode_seconds=0.1))
    gateway = start()
    noise = np.random.default_rng(1).integers(0, 255, (3000, 3000, 3), np.uint8)
    slow = bytes(cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])
    transport.respond = lambda _: make_answer([(2, 0.9, (0.0, 0.0, 3000.0, 3000.0))], (3000, 3000))
    status, message = envelope(gateway.post(PATH, json={"image": as_base64(slow)}))
    assert status == 400
    assert "longer than" in message
    transport.respond = lambda _: make_answer([(2, 0.9, (0.0, 0.0, 176.0, 120.0))], (120, 176))
    assert gateway.post(PATH, json={"image": as_base64(jpeg())}).status_code == 200
