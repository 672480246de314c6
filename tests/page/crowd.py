"""A gateway in this process whose model knows 80 classes and finds as many instances as it is told to. No server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from maskserve import contract
from maskserve.transport.base import Transport
from maskserve.transport.wire import ImageRequest, Tensor
from tests.client.conftest import FakeTransport

CLASSES = [f"class {number}" for number in range(80)]
CLASSES[:12] = ["person", "bicycle", "car", "bus", "train", "dog", "cat", "chair", "cup", "bottle", "book", "clock"]


class Crowd(FakeTransport):
    """Finds ellipses of many classes on a grid, the same ones in every image of a size.

    Args:
        count: of instances.
        kinds: of classes among them.
    """

    def __init__(self, count: int = 72, kinds: int = 30) -> None:
        super().__init__()
        self.count, self.kinds = count, kinds
        self.respond = self.find_crowd

    def model_config(self, model: str) -> dict[str, Any]:
        texts = {contract.PARAMETER_LABELS: json.dumps(CLASSES), contract.PARAMETER_DRAW_THRESHOLD: "0.5"}
        return {"parameters": {key: {"string_value": text} for key, text in texts.items()}}

    def find_crowd(self, request: ImageRequest) -> list[Tensor]:
        from maskserve.masks import encode_crop
        from tests.client.conftest import numbers, strings

        assert request.image is not None
        height, width = cv2.imdecode(np.frombuffer(request.image, np.uint8), cv2.IMREAD_COLOR).shape[:2]
        rng = np.random.default_rng(3)
        windows, counts = [], []
        for _ in range(self.count):
            wide, high = (int(rng.integers(side // 20, side // 7)) for side in (width, height))
            left, top = int(rng.integers(0, width - wide)), int(rng.integers(0, height - high))
            crop = np.zeros((high, wide), np.uint8)
            cv2.ellipse(crop, (wide // 2, high // 2), (max(wide // 2 - 1, 1), max(high // 2 - 1, 1)), 0, 0, 360, 1, -1)
            windows.append((left, top, wide, high))
            counts.append(encode_crop(crop))
        boxes = [(x, y, x + w, y + h) for x, y, w, h in windows]
        n = self.count
        return [
            numbers(contract.BOXES, "FP32", boxes, (n, 4)),
            numbers(contract.SCORES, "FP32", np.linspace(0.98, 0.4, n), (n,)),
            numbers(contract.LABELS, "INT32", [at * at % self.kinds for at in range(n)], (n,)),
            strings(contract.MASKS, counts),
            numbers(contract.MASK_BOXES, "INT32", windows, (n, 4)),
            numbers(contract.IMAGE_SIZE, "INT32", (height, width), (2,)),
        ]


@contextmanager
def running_crowd(transport: Transport, **settings: Any) -> Iterator[str]:
    """The address of a gateway in front of it."""
    from maskserve_gateway.app import create_app
    from maskserve_gateway.settings import Settings
    from tests.gateway.conftest import listening

    settings = {"urls": ("grpc://192.0.2.1:1",), "model": "tiny", **settings}
    app = create_app(Settings(**settings), transport)
    with listening(app) as address:
        yield address
