"""Hostile images and dying decoders in a real server: each costs one request."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import psutil
import pytest

from maskserve import create_pipeline
from maskserve.errors import InvalidImage, MaskserveError
from tests.conftest import DEMO
from tests.waiting import wait_until

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

SLOW = bytes(
    cv2.imencode(
        ".jpg",
        np.random.default_rng(1).integers(0, 255, (4000, 4000, 3), np.uint8),
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    )[1]
)


def decoders(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.pid).children(recursive=True)
    return [child for child in children if child.name() == "maskserve-image"]


def wait_until_idle(server: Server) -> None:
    """Wait until all decoders have started, and none has anything to do."""
    deadline, taken = time.monotonic() + 60, [-1.0]
    while True:
        time.sleep(0.5)
        before, taken = taken, [sum(process.cpu_times()[:2]) for process in decoders(server)]
        if len(taken) == 4 and min(taken) > 0.03 and before == taken:
            return
        assert time.monotonic() < deadline


def test_models_decode_in_processes_of_their_own(server: Server) -> None:
    """Two for each entry that reads images: one at work, and one ready."""
    wait_until_idle(server)
    assert len(decoders(server)) == 4


@pytest.mark.parametrize("name", [DEMO, f"{DEMO}-single"])
@pytest.mark.parametrize("event", ["kill", "suspend"])
def test_what_happens_to_a_decoder_costs_one_request(server: Server, images: list[Path], name: str, event: str) -> None:
    ended: list[Exception | None] = []
    with create_pipeline(name, url=server.grpc_url, retries=0) as pipeline:
        (wanted,) = pipeline.predict(images[0])

        def ask() -> None:
            try:
                list(pipeline.predict(SLOW))
                ended.append(None)
            except MaskserveError as error:
                ended.append(error)

        wait_until_idle(server)
        before = {process: sum(process.cpu_times()[:2]) for process in decoders(server)}
        thread = threading.Thread(target=ask)
        thread.start()

        def busy() -> list[psutil.Process]:
            return [p for p in decoders(server) if sum(p.cpu_times()[:2]) > before.get(p, 99.0) + 0.05]

        wait_until(busy, "a decoder is at work")
        getattr(busy()[0], event)()
        thread.join(60)
        assert isinstance(ended[0], InvalidImage)
        for _ in range(3):
            (result,) = pipeline.predict(images[0])
            assert result["boxes"] == wanted["boxes"]
        wait_until_idle(server)
        for process in decoders(server):
            getattr(process, event)()
        (result,) = pipeline.predict(images[0])
        assert result["boxes"] == wanted["boxes"]


def test_hostile_files_are_refused(server: Server, shared: Path, images: list[Path]) -> None:
    with create_pipeline(DEMO, url=server.grpc_url, retries=0) as pipeline:
        for name in ("chunk-length-3.5e9.png", "damaged-animated.png"):
            with pytest.raises(InvalidImage):
                list(pipeline.predict((shared / "data" / "hostile" / name).read_bytes()))
        assert len(list(pipeline.predict(images[0]))) == 1
