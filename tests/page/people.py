"""The photo of three people, and what the service finds in it."""

from __future__ import annotations

import base64
import json
import urllib.request
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from tests.conftest import ROOT

EXAMPLES = ROOT / "gateway" / "maskserve_gateway" / "page" / "examples"
THREE = EXAMPLES / "three_people.jpg"


def ask_gateway(gateway: str, photo: bytes, threshold: float = 0.05) -> list[dict[str, Any]]:
    """The service's own instances, the surest first."""
    document = {"image": base64.b64encode(photo).decode(), "threshold": threshold, "visualize": False}
    request = urllib.request.Request(f"{gateway}/instance-segmentation", json.dumps(document).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: list[dict[str, Any]] = json.load(answer)["result"]["instances"]
    return sorted(found, key=lambda one: -float(one["score"]))


def whole_mask(found: dict[str, Any], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask of the service on a canvas of size (height, width)."""
    height, width = found["mask"]["size"]
    crop = coco.decode({"size": [height, width], "counts": found["mask"]["rleResult"].encode()})
    x, y = round(found["bbox"][0]), round(found["bbox"][1])
    pixels = np.zeros(size, np.uint8)
    pixels[y : y + height, x : x + width] = crop
    return pixels


def middle(mask: NDArray[np.uint8]) -> tuple[int, int]:
    """Column and row of the pixel that lies deepest inside a mask."""
    depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(column), int(row)
