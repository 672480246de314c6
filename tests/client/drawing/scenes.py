"""Instances made to measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from maskserve.instances import Instances
from maskserve.masks import Mask

Size = tuple[int, int]


def instances_of(
    masks: Sequence[NDArray[Any]],
    size: Size,
    labels: Sequence[str] | None = None,
    class_ids: Sequence[int] | None = None,
    boxes: Sequence[Sequence[float]] | None = None,
) -> Instances:
    """Instances of whole-image masks, the surest first."""
    encoded = tuple(Mask.encode(np.asarray(mask)) for mask in masks)
    around = [(x, y, x + width, y + height) for x, y, width, height in (mask.bbox for mask in encoded)]
    return Instances(
        boxes_xyxy=np.array(boxes or around, np.float32).reshape(-1, 4),
        scores=np.linspace(0.95, 0.35, len(masks)).astype(np.float32),
        class_ids=np.array(class_ids or [0] * len(masks), np.int32),
        labels=tuple(labels or ["person"] * len(masks)),
        masks=encoded,
        image_size=size,
    )


def filled(size: Size, *corners: int) -> NDArray[np.uint8]:
    """A mask that is a rectangle x0, y0, x1, y1."""
    pixels = np.zeros(size, np.uint8)
    x0, y0, x1, y1 = corners
    pixels[y0:y1, x0:x1] = 1
    return pixels


def blobs(rng: np.random.Generator, count: int, size: Size) -> Instances:
    """Ellipses of all sizes and places, some of them on each other, some not more than a pixel."""
    masks = []
    for _ in range(count):
        pixels = np.zeros(size, np.uint8)
        centre = int(rng.integers(0, size[1])), int(rng.integers(0, size[0]))
        axes = tuple(int(rng.integers(0, max(side // 4, 1) + 1)) for side in size[::-1])
        cv2.ellipse(pixels, centre, axes, float(rng.integers(0, 180)), 0, 360, 1, -1)
        masks.append(pixels)
    return instances_of(masks, size, class_ids=rng.integers(0, 5, count).tolist())
