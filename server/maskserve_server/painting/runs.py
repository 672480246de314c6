"""From the positions at which masks change to their run lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco

from maskserve.rle import from_intervals, intervals, row_extent
from maskserve_server.painting.codes import Integers
from maskserve_server.painting.compiled.library import loaded
from maskserve_server.painting.windows import Window, area


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """The windows of an image's instances, one after another, each column by column: what positions count.

    Attributes:
        corners: int64 [4, N], x0, y0, x1, y1 of each window.
        height: int64 [N].
        first: int64 [N], the position of each window's first pixel. After its last one comes a position without
            a pixel.
        last: int64 [N], that position.
    """

    corners: Integers
    height: Integers
    first: Integers
    last: Integers

    @classmethod
    def of(cls, windows: list[Window]) -> Canvas:
        """Return the canvas of these windows; they may be empty."""
        corners = np.array(windows, np.int64).reshape(-1, 4).T
        height = corners[3] - corners[1]
        last = np.cumsum((corners[2] - corners[0]) * height + 1) - 1
        return cls(corners, height, np.append(0, last[:-1] + 1)[: len(last)], last)

    def position(self, owner: Integers, x: Integers, y: Integers) -> Integers:
        """Return the positions of pixels of the image in the windows of their owners."""
        x0, y0 = self.corners[0, owner], self.corners[1, owner]
        return np.asarray(self.first[owner] + (x - x0) * self.height[owner] + (y - y0))

    def runs(self, changes: Integers) -> list[Integers]:
        """Return the run lengths in each window, background first; an empty window has one of length 0.

        Args:
            changes: positions, unsorted; none comes more than twice, and those that come twice cancel.
        """
        changes = _single(np.sort(changes))
        begins, ends = np.searchsorted(changes, self.first), np.searchsorted(changes, self.last)
        spans = zip(begins.tolist(), ends.tolist(), self.first.tolist(), self.last.tolist(), strict=True)
        return [_lengths(changes[begin:end], first, last) for begin, end, first, last in spans]


def _single(positions: Integers) -> Integers:
    """Return the sorted positions that occur once."""
    twice = np.flatnonzero(positions[1:] == positions[:-1])
    kept = np.ones(len(positions), np.bool_)
    kept[twice] = False
    kept[twice + 1] = False
    return positions[kept]


def _lengths(changes: Integers, first: int, last: int) -> Integers:
    lengths = np.empty(len(changes) + 1, np.int64)
    lengths[:-1] = changes
    lengths[-1] = last
    lengths[1:] -= changes
    lengths[0] -= first
    return lengths


def encode_runs(runs: list[Integers], windows: list[Window]) -> list[bytes]:
    """Return COCO's compressed counts of run lengths inside windows; `b""` where a window is empty."""
    library = loaded()
    if library is not None:
        pairs = zip(runs, windows, strict=True)
        return [library.encode(lengths) if area(window) else b"" for lengths, window in pairs]
    plain = [
        {"counts": lengths, "size": [y1 - y0, x1 - x0]} for lengths, (x0, y0, x1, y1) in zip(runs, windows, strict=True)
    ]
    encoded = coco.frPyObjects(plain, 1, 1) if plain else []
    return [rle["counts"] if area(window) else b"" for rle, window in zip(encoded, windows, strict=True)]


def tightened(runs: Integers, window: Window) -> tuple[Window, Integers]:
    """Return the smallest window that holds the foreground, and its run lengths; an empty one if there is none."""
    x0, y0, _, y1 = window
    height = y1 - y0
    starts, ends = intervals(runs)
    if not starts.size:
        return (0, 0, 0, 0), runs[:0]
    top, bottom = row_extent(starts, ends, height)
    left, right = int(starts[0]) // height, (int(ends[-1]) - 1) // height
    new = bottom + 1 - top
    lengths = ends - starts  # a stretch that reaches the next column fills the height, so that nothing is cut
    starts = (starts // height - left) * new + starts % height - top
    tight = (x0 + left, y0 + top, x0 + right + 1, y0 + bottom + 1)
    return tight, from_intervals(starts, starts + lengths, new * (right + 1 - left))
