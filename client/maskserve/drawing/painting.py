"""Masks on an image: a light fill, and an opaque line around it. Band by band: large images take little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from maskserve import rle as _rle
from maskserve.drawing.outline import blend, draw_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskserve.drawing.look import Colour
    from maskserve.masks import Mask

    Pixels = NDArray[np.uint8]

_BAND_PIXELS = 1 << 20


def paint_mask(
    rgb: Pixels, mask: Mask, ends: NDArray[np.int64], colour: Colour, *, opacity: float, line: float
) -> None:
    """Draw a mask, in place.

    Args:
        rgb: [height, width, 3] uint8.
        mask: of an image of this size.
        ends: where its runs end, see `maskserve.rle.edges`.
        colour: of fill and line.
        opacity: of the fill.
        line: width of the line in pixels, which is outside the mask.
    """
    left, top, width, height = mask.box
    if not width or not height:
        return
    margin = int(line) + 2
    pixels = int(ends[-1]) if ends.size else 0
    if pixels != width * height:
        raise ValueError(f"run lengths of {pixels} pixels for a mask of {height}x{width}")
    step = max(_BAND_PIXELS // (height + 2 * margin), 1)
    for first in range(0, width, step):
        count = min(step, width - first)
        # with what is beside the band, to which its line may belong
        near = max(first - margin, 0), min(first + count + margin, width)
        columns = _columns(ends, near, height)
        x0 = left + near[0]
        is_last = first + count == width
        inner = (left + first if first else left - margin), left + first + count + (margin if is_last else 0)
        _paint_band(rgb, columns, (x0, top), inner, colour, opacity=opacity, line=line)


def _columns(ends: NDArray[np.int64], span: tuple[int, int], height: int) -> Pixels:
    """Return some columns of a mask, [columns, height] uint8 of 0 and 1."""
    start, stop = span[0] * height, span[1] * height
    first, last = np.searchsorted(ends, start, side="right"), np.searchsorted(ends, stop)
    cuts = np.concatenate((ends[first:last], [stop])) - start
    pixels = _rle.inside(cuts)
    if first % 2:  # the band begins inside the mask
        pixels ^= 1
    return pixels.reshape(span[1] - span[0], height)


def _paint_band(
    rgb: Pixels,
    columns: Pixels,
    corner: tuple[int, int],
    inner: tuple[int, int],
    colour: Colour,
    *,
    opacity: float,
    line: float,
) -> None:
    """Draw the part of a mask from column inner[0] to inner[1] of the image."""
    import cv2

    margin = int(line) + 2
    x, y = corner
    image_height, image_width = rgb.shape[:2]
    x0, x1 = max(inner[0], 0), min(inner[1], image_width)
    y0, y1 = max(y - margin, 0), min(y + columns.shape[1] + margin, image_height)
    # the mask with room for its line on all sides, then what of it is in the image and in this band
    inside = np.pad(cv2.transpose(columns), margin)
    window = np.s_[y0 - y + margin : y1 - y + margin, x0 - x + margin : x1 - x + margin]
    if x1 <= x0:
        return
    region = np.ascontiguousarray(rgb[y0:y1, x0:x1])
    plain = np.empty_like(region)
    cv2.rectangle(plain, (0, 0), (region.shape[1], region.shape[0]), colour, cv2.FILLED)
    if opacity:
        cv2.copyTo(blend(region, plain, opacity), np.ascontiguousarray(inside[window]), region)
    if line > 0:
        draw_line(region, inside, window, plain, line)
    rgb[y0:y1, x0:x1] = region


def paint_box(rgb: Pixels, box: tuple[float, float, float, float], colour: Colour, width: int) -> None:
    """Draw a box as four lines of `width` pixels along the inside of its edges, in place."""
    height, image_width = rgb.shape[:2]
    x0, y0 = (min(max(round(value), 0), side - 1) for value, side in zip(box[:2], (image_width, height), strict=True))
    x1, y1 = (
        min(max(round(value), low + 1), side)
        for value, low, side in zip(box[2:], (x0, y0), (image_width, height), strict=True)
    )
    for rows, columns in (
        (slice(y0, min(y0 + width, y1)), slice(x0, x1)),
        (slice(max(y1 - width, y0), y1), slice(x0, x1)),
        (slice(y0, y1), slice(x0, min(x0 + width, x1))),
        (slice(y0, y1), slice(max(x1 - width, x0), x1)),
    ):
        rgb[rows, columns] = colour
