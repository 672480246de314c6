"""Painters of whole windows, pixel by pixel: the oracle of run lengths, and what the server did before it had these.

`paint_window`, `paint_twice` and `paste` are what `maskserve_server.painting` must equal bit for bit. The others are
as fast as the server's former painters were: they leave the last bits to cv2 and to the matrix multiplication.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]  # [height, width] of 0 and 1, column by column in memory
Window = tuple[int, int, int, int]
Size = tuple[int, int]

_STRIP_VALUES = 1 << 16
_WHOLE_IMAGE = 1 << 22


def paint_window(source: Floats, size: Size, window: Window, threshold: float) -> Mask:
    """Where `source`, resized to `size` as Paddle's bilinear_interp does, exceeds `threshold` inside `window`."""
    x0, y0, x1, y1 = window
    result = np.empty((x1 - x0, y1 - y0), np.bool_)
    for rows, values in _strips(np.ascontiguousarray(source.T), size[::-1], (y0, x0, y1, x1)):
        np.greater(values, threshold, out=result[rows])
    return result.view(np.uint8).T


def paint_window_with_cv2(source: Floats, size: Size, window: Window, threshold: float) -> Mask:
    """The same but for the last bits, by resizing the whole image where that is quicker."""
    x0, y0, x1, y1 = window
    if size[0] * size[1] > min(_WHOLE_IMAGE, 4 * (x1 - x0) * (y1 - y0)):
        return paint_window(source, size, window, threshold)
    whole = cv2.resize(np.ascontiguousarray(source.T), size, interpolation=cv2.INTER_LINEAR)
    inside: npt.NDArray[np.bool_] = np.greater(whole[x0:x1, y0:y1], threshold)
    return inside.view(np.uint8).T


def resize_window(source: Floats, size: Size, window: Window) -> Floats:
    """The pixels inside `window` of `source` resized to `size`, as Paddle's bilinear_interp does."""
    x0, y0, x1, y1 = window
    result = np.empty((y1 - y0, x1 - x0), np.float32)
    for rows, values in _strips(source, size, window):
        result[rows] = values
    return result


def enlarge(source: Floats, size: Size, crop: Window) -> Floats:
    """`source` resized to `size`, zero outside of a crop of that; [height, width], column by column in memory."""
    x0, y0, x1, y1 = crop
    result = np.zeros(size[::-1], np.float32)
    if x1 > x0 and y1 > y0:
        result[x0:x1, y0:y1] = resize_window(np.ascontiguousarray(source.T), size[::-1], (y0, x0, y1, x1))
    return result.T


def paint_twice(
    source: Floats, enlarged: Size, crop: Window, visible: Size, *, size: Size, window: Window, threshold: float
) -> Mask:
    """Where `source`, resized, cropped, and what is visible of it resized again, exceeds `threshold`."""
    canvas = enlarge(source, enlarged, crop)[: visible[0], : visible[1]]
    return paint_window(canvas, size, window, threshold)


def paint_sum(
    weights: Floats, prototypes: Floats, crop: Window, canvas: Size, *, size: Size, window: Window, threshold: float
) -> Mask:
    """PP-YOLOE_seg's: the probabilities of a sum of prototypes, made no further than the crop needs them."""
    x0, y0, x1, y1 = crop
    mask = np.zeros(prototypes.shape[1:], np.float32)
    if x1 > x0 and y1 > y0:
        columns, rows = _cells(x0, x1, mask.shape[1], canvas[1]), _cells(y0, y1, mask.shape[0], canvas[0])
        logits = np.tensordot(weights, prototypes[:, rows, columns], axes=1)
        mask[rows, columns] = 0.5 * (1 + np.tanh(0.5 * logits))
    return paint_twice(mask, canvas, crop, canvas, size=size, window=window, threshold=threshold)


def paint_enlarged(mask: Floats, by: int, visible: Size, *, size: Size, window: Window, threshold: float) -> Mask:
    """SOLOv2's, with cv2 where it is quicker: only the part with pixels above the threshold is enlarged."""
    rows, columns = (np.flatnonzero((mask > threshold).any(axis=axis)) for axis in (1, 0))
    canvas = np.zeros(visible[::-1], np.float32)
    if rows.size:
        y0, y1 = max(rows[0] - 2, 0), min(rows[-1] + 3, mask.shape[0])
        x0, x1 = max(columns[0] - 2, 0), min(columns[-1] + 3, mask.shape[1])
        part = np.ascontiguousarray(mask[y0:y1, x0:x1].T)
        part = cv2.resize(part, (by * (y1 - y0), by * (x1 - x0)), interpolation=cv2.INTER_LINEAR)
        place = canvas[by * x0 : by * x1, by * y0 : by * y1]
        place[:] = part[: place.shape[0], : place.shape[1]]
    return paint_window_with_cv2(canvas.T, size, window, threshold)


def paste(mask: Floats, box: Floats, window: Window, threshold: float) -> Mask:
    """Where `mask`, stretched over `box` with zeros around it, reaches `threshold`: weighted sums one after another."""
    x0, y0, x1, y1 = window
    padded = np.pad(mask, 1)
    row, down = _places(y0, y1, box[1], box[3], mask.shape[0])
    column, across = _places(x0, x1, box[0], box[2], mask.shape[1])
    upper, lower = (padded[r][:, column] * (1 - across) + padded[r][:, column + 1] * across for r in (row, row + 1))
    values = upper * (1 - down)[:, None] + lower * down[:, None]
    return np.asfortranarray(values >= np.float32(threshold)).view(np.uint8)


def paste_with_matrices(mask: Floats, box: Floats, window: Window, threshold: float) -> Mask:
    """The same but for the last bits, as a product of one matrix for the rows and one for the columns."""
    x0, y0, x1, y1 = window
    rows = _weights(*_places(y0, y1, box[1], box[3], mask.shape[0]), mask.shape[0])
    columns = _weights(*_places(x0, x1, box[0], box[2], mask.shape[1]), mask.shape[1])
    inside: npt.NDArray[np.bool_] = (columns @ mask.T) @ rows.T >= threshold
    return inside.view(np.uint8).T


def _places(
    start: int, stop: int, low: np.float32, high: np.float32, cells: int
) -> tuple[npt.NDArray[np.intp], Floats]:
    """The first of the two cells of each pixel, counted with one of zeros around, and the second one's weight."""
    inside = (np.arange(start, stop, dtype=np.float32) + np.float32(0.5) - low) / (high - low)
    position = inside * np.float32(cells) - np.float32(0.5)
    first = np.floor(position)
    return np.clip(first.astype(np.intp) + 1, 0, cells), position - first


def _weights(index: npt.NDArray[np.intp], second: Floats, cells: int) -> Floats:
    weights = np.zeros((len(index), cells + 2), np.float32)
    pixel = np.arange(len(index))
    weights[pixel, index] = 1 - second
    weights[pixel, index + 1] = second
    return weights[:, 1:-1]


def _cells(start: int, stop: int, cells: int, pixels: int) -> slice:
    return slice(max(start * cells // pixels - 1, 0), min(-(-stop * cells // pixels) + 1, cells))


def _strips(source: Floats, size: Size, window: Window) -> Iterator[tuple[slice, Floats]]:
    """The resized window, some rows at a time: along rows first, then along columns."""
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
    left, right, weight = _taps(source.shape[1], width, x0, x1)
    result = source.take(left, axis=1)
    step = source.take(right, axis=1)
    step -= result
    step *= weight
    result += step
    return result


def _taps(source: int, target: int, start: int, stop: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    half = np.float32(0.5)
    position = np.float32(source / target) * (np.arange(start, stop, dtype=np.float32) + half) - half
    above = np.floor(position)
    low = np.clip(above, 0, source - 1).astype(np.intp)
    high = np.clip(above + 1, 0, source - 1).astype(np.intp)
    return low, high, (position - above).astype(np.float32)
