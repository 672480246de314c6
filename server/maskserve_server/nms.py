"""Greedy non-maximum suppression with the semantics of Paddle's `multiclass_nms3`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskserve_server.windows import Floats

Indices = npt.NDArray[np.intp]


def suppress(boxes: Floats, scores: Floats, overlap: float, *, normalized: bool) -> Indices:
    """The boxes that survive among those of one class.

    Args:
        boxes: float32 [N, 4], x0, y0, x1, y1.
        scores: float32 [N].
        overlap: a box goes when its intersection over union with a better one is larger.
        normalized: whether a side is x1 - x0 (else x1 - x0 + 1).

    Returns:
        Their indices, by falling score.
    """
    order = np.argsort(-scores, kind="stable")
    areas = _areas(boxes, normalized)
    kept: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        order = rest[_overlaps(boxes[best], areas[best], boxes[rest], areas[rest], normalized) <= overlap]
    return np.array(kept, np.intp)


def _areas(boxes: Floats, normalized: bool) -> Floats:
    sides = boxes[:, 2:] - boxes[:, :2] + (0 if normalized else 1)
    valid = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)
    return np.asarray(np.where(valid, sides.prod(axis=1), 0), np.float32)


def _overlaps(box: Floats, area: np.float32, others: Floats, areas: Floats, normalized: bool) -> Floats:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    sides = np.maximum(high - low + (0 if normalized else 1), 0)
    shared = np.where((high >= low).all(axis=1), sides.prod(axis=1), 0)
    union = area + areas - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(union), where=union > 0), np.float32)
