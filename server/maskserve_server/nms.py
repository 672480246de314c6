"""Greedy non-maximum suppression with the semantics of Paddle's `multiclass_nms3`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskserve_server.painting.windows import Floats

Indices = npt.NDArray[np.intp]


def suppress(boxes: Floats, scores: Floats, overlap: float, *, normalized: bool) -> Indices:
    """Return the boxes that survive among those of one class.

    Args:
        boxes: float32 [N, 4], x0, y0, x1, y1.
        scores: float32 [N].
        overlap: a box goes when its intersection over union with a better one is larger.
        normalized: whether a side is x1 - x0 (else x1 - x0 + 1).

    Returns:
        Their indices, by falling score.
    """
    order = np.argsort(-scores, kind="stable")
    corners = np.ascontiguousarray(boxes[order].T)
    areas = _areas(corners, normalized)
    kept: list[int] = []
    while order.size:
        kept.append(int(order[0]))
        left = np.flatnonzero(_overlaps(corners, areas, normalized) <= overlap) + 1
        order, corners, areas = order[left], corners.take(left, axis=1), areas[left]
    return np.array(kept, np.intp)


def _areas(corners: Floats, normalized: bool) -> Floats:
    x0, y0, x1, y1 = corners
    one = 0 if normalized else 1
    return np.asarray(np.where((x1 >= x0) & (y1 >= y0), (x1 - x0 + one) * (y1 - y0 + one), 0), np.float32)


def _overlaps(corners: Floats, areas: Floats, normalized: bool) -> Floats:
    """Return the intersection over union of the first box with each of the others."""
    low, high = np.maximum(corners[:2, :1], corners[:2, 1:]), np.minimum(corners[2:, :1], corners[2:, 1:])
    sides = high - low + (0 if normalized else 1)
    shared = np.where((high[0] >= low[0]) & (high[1] >= low[1]), np.maximum(sides[0], 0) * np.maximum(sides[1], 0), 0)
    union = areas[0] + areas[1:] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(union), where=union > 0), np.float32)
