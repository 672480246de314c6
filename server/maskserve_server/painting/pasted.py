"""Masks that are stretched over boxes of their own, with zeros around them."""

from __future__ import annotations

import numpy as np

from maskserve_server.painting.axes import Axis, spread
from maskserve_server.painting.cells import Grid
from maskserve_server.painting.codes import Floats, Integers
from maskserve_server.painting.compiled import painters
from maskserve_server.painting.compiled.library import loaded
from maskserve_server.painting.once import painted
from maskserve_server.painting.runs import Canvas
from maskserve_server.painting.strips import weighted
from maskserve_server.painting.windows import Window


def paste(masks: Floats, boxes: Floats, windows: list[Window], threshold: float) -> list[Integers]:
    """Return where masks, stretched over their boxes, reach `threshold`: the run lengths inside windows.

    The values are those of Paddle's `grid_sample` (bilinear, zeros outside, align_corners False) at pixels' centres.

    Args:
        masks: float32 [N, h, w].
        boxes: float32 [N, 4], x0, y0, x1, y1 in pixels, with an area.
        windows: in pixels, of each mask; no more than half a pixel larger than the box.
        threshold: pixels with this value and higher ones are in the mask.

    Returns:
        for each window int64 [R], the lengths of background, foreground, background... column by column.
    """
    count, height, width = masks.shape
    samples = np.zeros((count, height + 2, width + 2), np.float32)
    samples[:, 1:-1, 1:-1] = masks
    reached = float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
    library = loaded()
    if library is not None:
        return painters.pasted(library, samples, boxes, windows, reached)
    corners = np.array(windows, np.int64).reshape(-1, 4)
    columns, left = _axis(corners[:, 0], corners[:, 2], boxes[:, 0], boxes[:, 2], width)
    rows, top = _axis(corners[:, 1], corners[:, 3], boxes[:, 1], boxes[:, 3], height)
    corners += np.stack([left, top, left, top], axis=1) - np.tile(corners[:, :2], 2)
    places: list[Window] = [(x0, y0, x1, y1) for x0, y0, x1, y1 in corners.tolist()]
    grid = Grid(rows, columns, Canvas.of(places))
    return painted(grid, samples, range(count), places, threshold=reached, arithmetic=(_blend, weighted))


def _axis(start: Integers, stop: Integers, low: Floats, high: Floats, cells: int) -> tuple[Axis, Integers]:
    """Return the rows or columns of all windows, one window after another, and where each window begins."""
    counts = stop - start
    owner, number = spread(counts)
    centre = (number + start[owner]).astype(np.float32) + np.float32(0.5)
    inside = (centre - low[owner]) / (high - low)[owner]
    position = inside * np.float32(cells) - np.float32(0.5)
    first = np.floor(position)
    index = np.clip(first.astype(np.int64) + 1, 0, cells)  # counted with the zeros around the mask
    begin = np.cumsum(counts) - counts
    return Axis.of(index, index + 1, position - first, breaks=begin[counts > 0]), begin


def _blend(corners: Floats, across: Floats, down: Floats) -> Floats:
    """Return weighted sums along rows of samples, then of these along columns; see `Blend`."""
    upper = corners[0] * (1 - across)
    upper += corners[2] * across
    lower = corners[1] * (1 - across)
    lower += corners[3] * across
    values: Floats = upper[:, None] * (1 - down)
    lower = lower[:, None] * down
    values += lower
    return values
