"""The line around a mask: which pixels it covers, and how much of each.

A pixel's distance from the mask is that of cv2's `distanceTransform` (DIST_L2, 5). A thin line needs few of its values:
then masks that are widened by rectangles find the same pixels, which takes a third of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Reach = tuple[tuple[int, int], ...]

_MOST_RINGS = 4  # with more of them the distances cost less


@dataclass(frozen=True, slots=True)
class _Ring:
    """The pixels at one distance, in the part of a pixel beyond the line.

    Attributes:
        reach: half widths and heights of rectangles; what they cover around a pixel is not farther than this ring.
        share: of the colour.
    """

    reach: Reach
    share: float


@dataclass(frozen=True, slots=True)
class _Stroke:
    """A line of some width.

    Attributes:
        reach: of its opaque part, as in `_Ring`.
        rings: of its edge, the nearest first.
    """

    reach: Reach
    rings: tuple[_Ring, ...]


def draw_line(region: Pixels, inside: Pixels, window: tuple[slice, slice], plain: Pixels, line: float) -> None:
    """Blend a colour into the pixels outside a mask that are at most `line` and a part of a pixel away from it.

    Args:
        region: [height, width, 3], without gaps; drawn upon.
        inside: the mask, 0 and 1, with what is beside the region.
        window: where the region is in it.
        plain: as large as the region, in the colour of the line.
        line: its width in pixels.
    """
    import cv2

    stroke = _stroke(line)
    if len(stroke.rings) > _MOST_RINGS:
        away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)[window]
        _draw_by_distance(region, np.ascontiguousarray(away), plain, line)
        return
    covered = _widened(inside, stroke.reach)
    cv2.copyTo(plain, np.ascontiguousarray((covered - inside)[window]), region)
    for ring in stroke.rings:
        wider = _widened(inside, ring.reach)
        blended = blend(region, plain, ring.share)
        cv2.copyTo(blended, np.ascontiguousarray((wider - covered)[window]), region)
        covered = wider


def blend(region: Pixels, plain: Pixels, share: float) -> Pixels:
    """Return `region` with a share of `plain`."""
    import cv2

    blended: Pixels = cv2.addWeighted(region, 1 - share, plain, share, 0)
    return blended


def _widened(inside: Pixels, reach: Reach) -> Pixels:
    """Return the pixels that one of the rectangles around a pixel of the mask covers."""
    import cv2

    widened: Pixels | None = None
    for x, y in reach:
        part = cv2.dilate(inside, cv2.getStructuringElement(cv2.MORPH_RECT, (2 * x + 1, 2 * y + 1)))
        widened = part if widened is None else cv2.max(widened, part, dst=widened)
    assert widened is not None
    return widened


@lru_cache(maxsize=64)  # by the sizes of images
def _stroke(line: float) -> _Stroke:
    """Return what a line of this width covers around a single pixel, which cv2 measures."""
    import cv2

    side = int(line) + 2
    away = np.ones((2 * side + 1, 2 * side + 1), np.uint8)
    away[side, side] = 0
    quarter = cv2.distanceTransform(away, cv2.DIST_L2, 5)[side:, side:]
    values = np.unique(quarter)
    end = np.float32(line)
    edge = values[(values > end) & (values < end + 1)]
    rings = tuple(_Ring(_reach(quarter, value), float(end + 1 - value)) for value in edge)
    return _Stroke(_reach(quarter, end), rings)


def _reach(quarter: NDArray[np.float32], distance: np.float32) -> Reach:
    """Return the rectangles that cover the pixels within a distance; none lies in another."""
    heights = (np.count_nonzero(quarter <= distance, axis=0) - 1).tolist()
    pairs: Iterable[tuple[int, int]] = zip(heights, [*heights[1:], -1], strict=True)
    return tuple((x, height) for x, (height, following) in enumerate(pairs) if height > following)


def _draw_by_distance(region: Pixels, away: NDArray[np.float32], plain: Pixels, line: float) -> None:
    """Draw the line where each pixel's distance from the mask is known."""
    import cv2

    full = cv2.inRange(away, float(np.finfo(np.float32).tiny), line)  # 0 is inside the mask
    cv2.copyTo(plain, full, region)
    # beyond the line, and less than a pixel: the bounds of `inRange` belong to what it finds
    end, beyond = np.float32(line), np.float32(line + 1)
    edge = cv2.inRange(away, float(np.nextafter(end, beyond)), float(np.nextafter(beyond, end)))
    edge >>= 7  # 255 to 1
    border = np.flatnonzero(edge.view(np.bool_))
    share = (line + 1 - away.reshape(-1).take(border))[:, None]
    pixels = region.reshape(-1, 3)
    before = pixels.take(border, axis=0).astype(np.float32)
    blended = plain[0, 0].astype(np.float32) - before
    blended *= share
    blended += before
    pixels[border] = np.rint(blended, out=blended).astype(np.uint8)
