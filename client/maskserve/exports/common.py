"""What all exports share: which results they take, and the outlines of a mask."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from maskserve.errors import InvalidParameter
from maskserve.exports.bridges import joined
from maskserve.results import Failure, InstanceSegResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskserve.masks import Mask

Parts = Literal["split", "largest", "join"]
Outcomes = Iterable[InstanceSegResult | Failure] | InstanceSegResult | Failure
_log = logging.getLogger("maskserve")


class Segmented:
    """The results among outcomes, in order; failures are left out and counted.

    Attributes:
        position: of the last outcome that was taken, from 0, failures counted.
        failures: how many of them were failures.
    """

    def __init__(self, outcomes: Outcomes, target: str) -> None:
        self._outcomes = [outcomes] if isinstance(outcomes, InstanceSegResult | Failure) else outcomes
        self._target = target
        self.position = -1
        self.failures = 0

    def __iter__(self) -> Iterator[InstanceSegResult]:
        if isinstance(self._outcomes, str | bytes) or not isinstance(self._outcomes, Iterable):
            raise InvalidParameter(f"a {type(self._outcomes).__name__} is not results: give what predict yields")
        for outcome in self._outcomes:
            self.position += 1
            if isinstance(outcome, Failure):
                self.failures += 1
            else:
                yield one_result(outcome)
        if self.failures:
            left, count = self.failures, self.position + 1
            _log.warning("%d of %d images failed and are left out of %s.", left, count, self._target)


def one_result(outcome: Any) -> InstanceSegResult:
    """Return `outcome` if it is a result.

    Raises:
        InvalidParameter: it is something else.
    """
    if isinstance(outcome, Failure):
        raise InvalidParameter(f"this image failed, there is nothing to export: {outcome.error}")
    if not isinstance(outcome, InstanceSegResult):
        raise InvalidParameter(f"a {type(outcome).__name__} is not a result: give what predict yields")
    return outcome


def where(result: InstanceSegResult) -> str:
    """Return what to call the image of a result in a sentence."""
    path = result.get("input_path")
    page = "" if result.page_index is None else f", page {result.page_index}"
    part = page if result.frame_index is None else f", frame {result.frame_index}"
    return f"the image {str(path)!r}{part}" if path is not None else "an image that was given as an array"


def outlines(mask: Mask, parts: Parts, tolerance: float = 0.0) -> list[NDArray[np.int64]]:
    """Return the outlines of a mask, [N, 2] corners x, y along pixel edges; none for an empty mask.

    Args:
        mask: the mask.
        parts: "split" for one outline for each part, "largest" for that of the largest part, each with its holes
            filled; "join" for a single one with all parts and holes.
        tolerance: how far an outline may be from the pixel edges, in pixels: fewer corners. Parts of which no triangle
            is left are left out.

    Raises:
        InvalidParameter: there is no such form, or joined outlines are to be simplified: the lines of no width that
            join them would not be such any more.
    """
    if parts not in ("split", "largest", "join"):
        raise InvalidParameter(f"no form {parts!r} of parts: split, largest and join are known")
    if not 0 <= tolerance < math.inf:
        raise InvalidParameter(f"a tolerance of {tolerance!r} is not a number of pixels from 0 on")
    if tolerance and parts == "join":
        raise InvalidParameter("a tolerance needs outlines of single parts: choose parts split or largest")
    found = mask.polygons()
    if parts == "join":
        return [joined(found)] if found else []
    outer = [outline for outline in found if signed_area(outline) > 0]
    chosen = outer if parts == "split" or not outer else [max(outer, key=signed_area)]
    return [simple for one in chosen if len(simple := _simplified(one, tolerance)) > 2] if tolerance else chosen


def _simplified(outline: NDArray[np.int64], tolerance: float) -> NDArray[np.int64]:
    import cv2

    return np.asarray(cv2.approxPolyDP(outline.astype(np.int32)[:, None], tolerance, True)[:, 0], np.int64)


def row_runs(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the run lengths of a mask, row by row: of background, of foreground, and so on.

    Args:
        pixels: [h, w] uint8 of 0 and 1, at least one pixel.

    Returns:
        [N] int64; the first one is 0 where the first pixel is foreground.
    """
    flat = np.ascontiguousarray(pixels).ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate(([0], changes, [flat.size])))
    return np.concatenate(([0], runs)) if flat[0] else runs


def signed_area(outline: NDArray[Any]) -> float:
    """Return the pixels inside a closed outline [N, 2]; negative when it runs counter-clockwise on the screen."""
    x, y = outline[:, 0], outline[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
