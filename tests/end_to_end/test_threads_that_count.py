"""A model whose threads count answers and errors at the same time.

Two of them in one of Triton's figures ended the server within some hundred requests (SIGSEGV).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskserve import create_pipeline
from maskserve.errors import InvalidImage
from maskserve_server import metrics
from tests.conftest import DEMO
from tests.docker.scraping import scrape

CLIENTS, IMAGES = 12, 30


def test_a_server_lives_while_answers_and_errors_are_counted_at_once(demo_repository: Path) -> None:
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    from maskserve_tools import serve

    model, small = f"{DEMO}-single", cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()

    def ask(image: bytes, url: str) -> None:
        with create_pipeline(model, url=url) as pipeline:
            for _ in range(IMAGES):
                if image == small:
                    list(pipeline.predict(image))
                else:
                    with pytest.raises(InvalidImage):
                        list(pipeline.predict(image))

    with serve(demo_repository, instances=2, restart=False) as server:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(ask, CLIENTS // 2 * [small, b"broken"], repeat(server.grpc_url)))
        figures = {
            (name, dict(labels).get("code")): value
            for (name, labels), value in scrape(server.metrics_url).items()
            if dict(labels).get("model") == model
        }
    each = CLIENTS // 2 * IMAGES
    assert figures[metrics.ERRORS, "invalid_image"] == each
    assert figures[metrics.IMAGES, None] in (each, each + 1)  # the server's own image at the start may be one
