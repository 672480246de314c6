"""Windows evaluated in full, some columns at a time: for masks whose outline runs through most of their cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from maskserve_server.painting.axes import Line
from maskserve_server.painting.codes import Floats, Integers

_AT_ONCE = 1 << 15  # pixels of a strip: it stays in the processor's cache, an image does not


def interpolated(samples: Floats, rows: Line, columns: Line) -> Iterator[Floats]:
    """Return strips of resized samples, with the arithmetic of `blocks.interpolate`.

    Args:
        samples: float32 [h, w].
        rows: of the window.
        columns: of the window.

    Yields:
        float32 [C, R]: some columns, one below another; valid until the next one.
    """
    sides = samples.take(rows.near, axis=0)
    step = samples.take(rows.far, axis=0)
    step -= sides
    step *= rows.weight[:, None]
    sides += step
    along = cv2.transpose(sides)
    steps = np.empty_like(along)
    np.subtract(along[1:], along[:-1], out=steps[:-1])
    steps[-1] = 0
    weight = np.where(columns.far > columns.near, columns.weight, np.float32(0))[:, None]
    values, base = np.empty((2, _columns(len(rows.near)), len(rows.near)), np.float32)
    for some in _chunks(len(columns.near), len(rows.near)):
        count = len(weight[some])
        steps.take(columns.near[some], axis=0, out=values[:count], mode="clip")
        along.take(columns.near[some], axis=0, out=base[:count], mode="clip")
        values[:count] *= weight[some]
        values[:count] += base[:count]
        yield values[:count]


def weighted(samples: Floats, rows: Line, columns: Line) -> Iterator[Floats]:
    """Return strips of weighted sums of samples, with the arithmetic of `pasted`; see `interpolated`."""
    weight = columns.weight[:, None]
    samples = cv2.transpose(samples)
    across = samples.take(columns.near, axis=0)
    across *= 1 - weight
    right = samples.take(columns.far, axis=0)
    right *= weight
    across += right
    other = 1 - rows.weight
    for some in _chunks(len(columns.near), len(rows.near)):
        values = across[some].take(rows.near, axis=1)
        values *= other
        lower = across[some].take(rows.far, axis=1)
        lower *= rows.weight
        values += lower
        yield values


def lengths(strips: Iterable[Floats], threshold: np.float32) -> Integers:
    """Return the run lengths of the pixels above a threshold, background first."""
    found = [np.zeros(1, np.int64)]
    state, position = False, 0
    for strip in strips:
        inside = (strip > threshold).reshape(-1)
        if inside[0] != state:
            found.append(np.array([position], np.int64))
        changes = np.flatnonzero(inside[1:] != inside[:-1])
        changes += position + 1
        found.append(changes)
        state, position = inside[-1], position + len(inside)
    found.append(np.array([position], np.int64))
    edges = np.concatenate(found)
    return edges[1:] - edges[:-1]


def _chunks(columns: int, rows: int) -> Iterator[slice]:
    size = _columns(rows)
    return (slice(start, start + size) for start in range(0, columns, size))


def _columns(rows: int) -> int:
    return max(1, _AT_ONCE // rows)
