"""Paint masks inside a window of the image: bilinear upsampling, for the window's pixels only."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
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


def resize_window(source: Floats, size: tuple[int, int], window: Window) -> Floats:
    """The pixels inside `window` of `source` resized to `size`.

    The same numbers as `cv2.resize(source, size, INTER_LINEAR)[y0:y1, x0:x1]`, which is what Paddle's bilinear_interp
    (align_corners False, align_mode 0) computes. cv2 interpolates along rows, then along columns; doing the two
    passes apart lets each leave out what the window does not need.

    Args:
        source: float32 [h, w].
        size: height and width to resize to.
        window: in pixels of the resized picture.

    Returns:
        float32 [y1 - y0, x1 - x0].
    """
    x0, y0, x1, y1 = window
    if x1 <= x0 or y1 <= y0:
        return np.zeros((y1 - y0, x1 - x0), np.float32)
    first, last = _source_rows(source.shape[0], size[0], y0, y1)
    wide = cv2.resize(source[first:last], (size[1], last - first), interpolation=cv2.INTER_LINEAR)
    columns = np.ascontiguousarray(wide[:, x0:x1])
    above, below, weight = _taps(source.shape[0], size[0], y0, y1)
    top, bottom = columns[above - first], columns[below - first]
    bottom -= top
    bottom *= weight[:, None]
    bottom += top
    return np.asarray(bottom, np.float32)


def paint_window(source: Floats, size: tuple[int, int], window: Window, threshold: float) -> npt.NDArray[np.uint8]:
    """Where `source`, resized to `size`, exceeds `threshold` inside `window`.

    Works on the transposed mask, so that the result lies in memory column by column, as run-length encoding reads it.

    Returns:
        uint8 [y1 - y0, x1 - x0] of 0 and 1, Fortran-contiguous.
    """
    x0, y0, x1, y1 = window
    values = resize_window(np.ascontiguousarray(source.T), size[::-1], (y0, x0, y1, x1))
    return (values > threshold).view(np.uint8).T


def _taps(source: int, target: int, start: int, stop: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """The two source rows of each target row, and the weight of the second (half-pixel centres, clamped)."""
    position = (np.arange(start, stop) + 0.5) * (source / target) - 0.5
    above = np.floor(position)
    weight = position - above
    low = np.clip(above, 0, source - 1).astype(np.intp)
    high = np.clip(above + 1, 0, source - 1).astype(np.intp)
    return low, high, weight.astype(np.float32)


def _source_rows(source: int, target: int, start: int, stop: int) -> tuple[int, int]:
    low, high, _ = _taps(source, target, start, stop)
    return int(low[0]), int(high[-1]) + 1
