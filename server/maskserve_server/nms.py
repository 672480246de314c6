"""Greedy non-maximum suppression with the semantics of Paddle's `multiclass_nms3`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from maskserve_server.painting.windows import Floats

Indices = npt.NDArray[np.intp]

_AT_ONCE = 32  # boxes, the best that are left: with more, more is computed of boxes that one of these removes
_TOGETHER = 64  # boxes of several small classes: a call for each class takes longer than their boxes


def suppress_by_class(
    boxes: Floats, scores: Floats, classes: Indices, overlap: float, *, most: int, normalized: bool
) -> Indices:
    """Return the boxes that survive among those of their classes.

    Args:
        boxes: float32 [N, 4], x0, y0, x1, y1.
        scores: float32 [N].
        classes: [N].
        overlap: see `suppress`.
        most: how many of a class, the best ones, are looked at; -1 for all.
        normalized: see `suppress`.

    Returns:
        Their indices: class by class, in each by falling score.
    """
    order = np.lexsort((-scores, classes))
    counts = np.unique(classes, return_counts=True)[1]
    if most > -1:
        rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        order, counts = order[rank < most], np.minimum(counts, most)
    kept = [order[:0]]
    for some in _batches(counts.tolist()):
        own = order[some]
        left = suppress(boxes[own], scores[own], overlap, normalized=normalized, classes=classes[own])
        kept.append(own[np.sort(left)])
    return np.concatenate(kept)


def _batches(counts: list[int]) -> Iterator[slice]:
    """Yield slices of whole classes that have these numbers of boxes, one after another: small ones together."""
    start = stop = 0
    for count in counts:
        if stop > start and stop + count - start > _TOGETHER:
            yield slice(start, stop)
            start = stop
        stop += count
    yield slice(start, stop)


def suppress(
    boxes: Floats, scores: Floats, overlap: float, *, normalized: bool, classes: Indices | None = None
) -> Indices:
    """Return the boxes that survive.

    Args:
        boxes: float32 [N, 4], x0, y0, x1, y1.
        scores: float32 [N].
        overlap: a box goes when its intersection over union with a better one is larger.
        normalized: whether a side is x1 - x0 (else x1 - x0 + 1).
        classes: [N]; a box goes for one of its own class alone. None where all are of one.

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
        if classes is not None:
            hit &= classes[order[best], None] == classes[order]
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
