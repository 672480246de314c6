"""A smaller copy of an image with its instances, to draw where the whole one takes too much memory or time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from maskserve import rle as _rle
from maskserve.masks import Mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskserve.instances import Instances

# Painting 500 million pixels of masks takes some seconds: 300 instances, each on the whole of a 1.7 megapixel image.
MASK_PIXELS = 500_000_000
_GRID = 1 << 20  # points of a mask that are looked up at once


def smaller_size(instances: Instances, max_pixels: int, mask_pixels: int = MASK_PIXELS) -> tuple[int, int]:
    """Return the height and width at which to draw: those of the image, or of a smaller one of the same shape.

    Args:
        instances: what was found in the image.
        max_pixels: that the drawn image may have.
        mask_pixels: that the windows of all masks together may have.
    """
    height, width = instances.image_size
    painted = sum(mask.box[2] * mask.box[3] for mask in instances.masks)
    share = min(max_pixels / max(height * width, 1), mask_pixels / max(painted, 1))
    if share >= 1:
        return height, width
    scale = float(share) ** 0.5
    small = max(int(height * scale), 1), max(int(width * scale), 1)
    if small[0] * small[1] > max_pixels:  # one side is a single pixel already
        small = min(small[0], max_pixels), min(small[1], max_pixels)
    return small


def shrink_image(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return [h, w, 3] pixels at a smaller height and width, averaged."""
    import cv2

    shrunk: NDArray[np.uint8] = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return shrunk


def shrink_instances(instances: Instances, size: tuple[int, int]) -> Instances:
    """Return the instances as they are in a smaller image: boxes scaled, masks looked up at the pixels' centres.

    The masks are never painted at their own size.

    Args:
        instances: what was found in the image.
        size: height and width of the smaller one.

    Raises:
        ValueError: a mask's run lengths are not of its window's size.
    """
    height, width = instances.image_size
    factors = np.array([size[1] / width, size[0] / height] * 2, np.float32)
    return replace(
        instances,
        boxes_xyxy=instances.boxes_xyxy * factors,
        masks=tuple(_shrink_mask(mask, size) for mask in instances.masks),
        image_size=size,
    )


def _shrink_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    left, top, width, height = mask.box
    x0, columns = _centres(left, width, mask.size[1], size[1])
    y0, rows = _centres(top, height, mask.size[0], size[0])
    crop = np.zeros((rows.size, columns.size), np.uint8, order="F")
    runs = _rle.parse_counts(mask.counts)
    if int(runs.sum()) != width * height:
        raise ValueError(f"run lengths of {int(runs.sum())} pixels for a mask of {height}x{width}")
    ends = np.cumsum(runs)
    step = max(_GRID // max(rows.size, 1), 1)
    for first in range(0, columns.size, step):
        places = columns[None, first : first + step] * height + rows[:, None]
        crop[:, first : first + step] = np.searchsorted(ends, places, side="right") & 1
    return Mask.from_crop(crop, x0, y0, size)


def _centres(start: int, length: int, full: int, small: int) -> tuple[int, NDArray[np.int64]]:
    """Find the pixels of the smaller side whose centres are in a window of the full one: the first, and the centres."""
    centres = (2 * np.arange(small, dtype=np.int64) + 1) * full // (2 * small) - start
    inside = np.flatnonzero((centres >= 0) & (centres < length))
    return (int(inside[0]) if inside.size else 0), centres[inside]
