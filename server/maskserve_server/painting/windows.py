"""The windows of an image that hold its instances."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

Window = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 are outside


def crop_windows(boxes: Floats, size: tuple[int, int]) -> list[Window]:
    """Return the pixels that PaddleX crops for each box: its corners, rounded half to even.

    Args:
        boxes: float32 [N, 4], x0, y0, x1, y1, clipped to the image.
        size: height and width of the image.
    """
    height, width = size
    limits = np.array([width, height, width, height])
    rounded = np.clip(np.rint(boxes), 0, limits).astype(int)
    return [(x0, y0, max(x0, x1), max(y0, y1)) for x0, y0, x1, y1 in rounded.tolist()]


def area(window: Window) -> int:
    """Return the number of pixels in a window."""
    x0, y0, x1, y1 = window
    return (x1 - x0) * (y1 - y0)


def extent(mask: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> Window:
    """Return the smallest window that holds every pixel of a mask [h, w]; an empty window where it has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
