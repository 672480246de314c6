"""Greedy non-maximum suppression with the semantics of Paddle's `multiclass_nms3`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskserve_server.painting.windows import Floats

Indices = npt.NDArray[np.intp]

_AT_ONCE = 32  # boxes, the best that are left: with more, more is computed of boxes that one of these removes


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
    kept = [order[:0]]
    while order.size:
        best = slice(0, _AT_ONCE)
        hit = _overlaps(corners[:, best], areas[best], corners, areas, normalized=normalized) > overlap
        own = _survivors(hit[:, best])
        kept.append(order[own])
        left = np.flatnonzero(~hit[own, _AT_ONCE:].any(axis=0)) + _AT_ONCE
        order, corners, areas = order[left], corners.take(left, axis=1), areas[left]
    return np.concatenate(kept)


def _survivors(hit: npt.NDArray[np.bool_]) -> Indices:
    """Return which of some boxes stay: `hit` [N, N] says which ones each of them would remove, better ones first."""
    gone = np.zeros(len(hit), np.bool_)
    for number, others in enumerate(hit):
        if not gone[number]:
            others[number] = False  # itself; a better one would have removed this one
            gone |= others
    return np.flatnonzero(~gone)


def _areas(corners: Floats, normalized: bool) -> Floats:
    x0, y0, x1, y1 = corners
    one = 0 if normalized else 1
    return np.asarray(np.where((x1 >= x0) & (y1 >= y0), (x1 - x0 + one) * (y1 - y0 + one), 0), np.float32)


def _overlaps(some: Floats, own: Floats, corners: Floats, areas: Floats, *, normalized: bool) -> Floats:
    """Return the intersection over union of some boxes [4, M] with others [4, N], float32 [M, N]; with their areas."""
    low = np.maximum(some[:2, :, None], corners[:2, None])
    high = np.minimum(some[2:, :, None], corners[2:, None])
    apart = (high < low).any(axis=0)
    high -= low
    high += 0 if normalized else 1
    shared = np.maximum(high[0], 0) * np.maximum(high[1], 0)
    shared[apart] = 0
    union = own[:, None] + areas
    union -= shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(union), where=union > 0), np.float32)
