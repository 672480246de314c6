"""Paint masks inside a window of the image: bilinear upsampling, for the window's pixels only."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_STRIP_VALUES = 1 << 16
_WHOLE_PICTURE = 1 << 22  # pixels; beyond that a resized picture is too much memory for its crop

Window = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 are outside


def crop_windows(boxes: Floats, size: tuple[int, int]) -> list[Window]:
    """The pixels that PaddleX crops for each box: its corners, rounded half to even.

    Args:
        boxes: float32 [N, 4], x0, y0, x1, y1, clipped to the image.
        size: height and width of the image.
    """
    height, width = size
    limits = np.array([width, height, width, height])
    rounded = np.clip(np.rint(boxes), 0, limits).astype(int)
    return [(x0, y0, max(x0, x1), max(y0, y1)) for x0, y0, x1, y1 in rounded.tolist()]


def extent(mask: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> Window:
    """The smallest window that holds every pixel of a mask [h, w]; an empty window where it has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def resize_window(source: Floats, size: tuple[int, int], window: Window) -> Floats:
    """The pixels inside `window` of `source` resized to `size`.

    The same numbers as Paddle's bilinear_interp (align_corners False, align_mode 0), and but for the last bits as
    `cv2.resize(source, size, INTER_LINEAR)[y0:y1, x0:x1]`.

    Args:
        source: float32 [h, w].
        size: height and width to resize to.
        window: in pixels of the resized picture.

    Returns:
        float32 [y1 - y0, x1 - x0].
    """
    x0, y0, x1, y1 = window
    result = np.empty((y1 - y0, x1 - x0), np.float32)
    for rows, values in _strips(source, size, window):
        result[rows] = values
    return result


def paint_window(
    source: Floats, size: tuple[int, int], window: Window, threshold: float, *, exact: bool = True
) -> npt.NDArray[np.uint8]:
    """Where `source`, resized to `size`, exceeds `threshold` inside `window`.

    Works on the transposed mask, so that the result lies in memory column by column, as run-length encoding reads it.

    Args:
        source: float32 [h, w].
        size: height and width to resize to.
        window: in pixels of the resized picture.
        threshold: pixels with higher values are painted.
        exact: whether values may lie half-way between two cells of exactly 0 and 1, so that the last bits of Paddle's
            weights decide. cv2's are others, and it resizes whole pictures only, but a large window is sooner painted
            by it than by us.

    Returns:
        uint8 [y1 - y0, x1 - x0] of 0 and 1, Fortran-contiguous.
    """
    x0, y0, x1, y1 = window
    transposed = np.ascontiguousarray(source.T)
    if not exact and size[0] * size[1] <= min(_WHOLE_PICTURE, 4 * (x1 - x0) * (y1 - y0)):
        picture = cv2.resize(transposed, size, interpolation=cv2.INTER_LINEAR)
        inside: npt.NDArray[np.bool_] = np.greater(picture[x0:x1, y0:y1], threshold)
        return inside.view(np.uint8).T
    result = np.empty((x1 - x0, y1 - y0), np.bool_)
    for rows, values in _strips(transposed, size[::-1], (y0, x0, y1, x1)):
        np.greater(values, threshold, out=result[rows])
    return result.view(np.uint8).T


def _strips(source: Floats, size: tuple[int, int], window: Window) -> Iterator[tuple[slice, Floats]]:
    """The resized window, some rows at a time: a strip stays in the processor's cache, a whole photo does not.

    Interpolating along rows first, then along columns, lets each pass leave out what the window does not need.
    """
    x0, y0, x1, y1 = window
    if x1 <= x0 or y1 <= y0:
        return
    above, below, weight = _taps(source.shape[0], size[0], y0, y1)
    first, last = int(above[0]), int(below[-1]) + 1
    columns = _along_rows(source[first:last], size[1], x0, x1)
    steps = np.diff(columns, axis=0, append=columns[-1:])  # the step to the next row; none from the last
    height = max(1, _STRIP_VALUES // (x1 - x0))
    for start in range(0, y1 - y0, height):
        rows = slice(start, min(start + height, y1 - y0))
        low = above[rows] - first
        values = steps[low]
        values *= np.where(below[rows] > above[rows], weight[rows], 0)[:, None]
        values += columns[low]
        yield rows, values


def _along_rows(source: Floats, width: int, x0: int, x1: int) -> Floats:
    """The columns from x0 to x1 of `source` with its rows resized to `width`."""
    left, right, weight = _taps(source.shape[1], width, x0, x1)
    result = source.take(left, axis=1)
    step = source.take(right, axis=1)
    step -= result
    step *= weight
    result += step
    return result


def _taps(source: int, target: int, start: int, stop: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """The two source rows of each target row, and the weight of the second (half-pixel centres, clamped).

    In single precision throughout, as in Paddle: in a mask of zeros and ones a row half-way between two is common.
    """
    half = np.float32(0.5)
    position = np.float32(source / target) * (np.arange(start, stop, dtype=np.float32) + half) - half
    above = np.floor(position)
    weight = position - above
    low = np.clip(above, 0, source - 1).astype(np.intp)
    high = np.clip(above + 1, 0, source - 1).astype(np.intp)
    return low, high, weight.astype(np.float32)
