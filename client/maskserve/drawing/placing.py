"""Where labels go: on their own object where it is large enough, else beside it, and never on another label.

All of it happens on a coarse grid, in whole numbers, so that the page (page/placing.js) finds the same places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from maskserve import rle as _rle
from maskserve.drawing.colours import by_score
from maskserve.drawing.look import look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from maskserve.instances import Instances
    from maskserve.masks import Mask
    from maskserve.rle import Runs

    Cells = NDArray[np.bool_]
    Sums = NDArray[np.int64]

_NOWHERE = np.iinfo(np.int64).max
_FEW = 32  # pixels for each cell
_WHOLE = 1 << 16  # an object, in the parts that it is counted in


@dataclass(frozen=True, slots=True)
class Plate:
    """A label's place.

    Attributes:
        position: of the instance.
        choice: which of its texts is written.
        x: left edge, in pixels.
        y: top edge.
        towards: the point of the object to which a line leads; None where the label is on the object or touches it.
    """

    position: int
    choice: int
    x: int
    y: int
    towards: tuple[int, int] | None


def place_labels(
    instances: Instances, sizes: Sequence[Sequence[tuple[int, int]]], ends: Sequence[Runs] | None = None
) -> list[Plate]:
    """Find places for labels; the surest instance chooses first. One for which there is no place is left out.

    Args:
        instances: in an image.
        sizes: for each instance the widths and heights of its texts in pixels, the best text first.
        ends: of each instance's mask, see `maskserve.rle.edges`; they are computed where they are not known.
    """
    grid = _Grid(instances, [_rle.edges(mask.counts) for mask in instances.masks] if ends is None else ends)
    return [plate for position in by_score(instances) if (plate := grid.place(position, sizes[position]))]


class _Grid:
    """The image in cells: whose each is, and which have a label."""

    def __init__(self, instances: Instances, ends: Sequence[Runs]) -> None:
        self.height, self.width = instances.image_size
        self.cell = max(-(-max(self.height, self.width) // look()["gridCells"]), 1)
        shape = -(-self.height // self.cell), -(-self.width // self.cell)
        self.owner = np.full(shape, -1, np.int32)
        self.boxes = [self._cells_of(box) for box in instances.boxes_xyxy.tolist()]
        areas = [_rle.area(own) for own in ends]
        for position in sorted(range(len(areas)), key=lambda position: -areas[position]):  # small ones are on top
            if areas[position]:
                self._paint(position, instances.masks[position], ends[position])
        self.taken = np.zeros(shape, bool)
        self.seen = np.bincount(self.owner[self.owner >= 0], minlength=len(areas))
        self.hidden = np.zeros(len(areas), np.int64)  # cells of each object under labels

    def _cells_of(self, box: list[float]) -> tuple[int, int, int, int]:
        """Return x0, y0, x1, y1 of the cells that a box touches, at least one."""
        rows, columns = self.owner.shape
        x0, y0 = (
            min(max(int(near) // self.cell, 0), side - 1) for near, side in zip(box, (columns, rows), strict=False)
        )
        x1, y1 = -(-int(box[2]) // self.cell), -(-int(box[3]) // self.cell)
        return x0, y0, min(max(x1, x0 + 1), columns), min(max(y1, y0 + 1), rows)

    def _paint(self, position: int, mask: Mask, ends: Runs) -> None:
        left, top, width, height = mask.box
        x0, columns = self._centres(left, width, self.owner.shape[1], self.width)
        y0, rows = self._centres(top, height, self.owner.shape[0], self.height)
        places = columns[None, :] * height + rows[:, None]
        if _FEW * places.size > width * height:  # then all pixels cost less than to look for some
            inside = _rle.inside(ends).view(np.bool_).take(places)
        else:
            inside = (np.searchsorted(ends, places, side="right") & 1).astype(bool)
        self.owner[y0 : y0 + rows.size, x0 : x0 + columns.size][inside] = position

    def _centres(self, start: int, length: int, cells: int, side: int) -> tuple[int, Sums]:
        """Find the cells whose centres are in a window: the first, and the centres from the window's start."""
        centres = np.minimum(np.arange(cells, dtype=np.int64) * self.cell + self.cell // 2, side - 1) - start
        inside = np.flatnonzero((centres >= 0) & (centres < length))
        return (int(inside[0]) if inside.size else 0), centres[inside]

    def place(self, position: int, sizes: Sequence[tuple[int, int]]) -> Plate | None:
        """Find a place for one label, and take it."""
        own = self.owner == position
        rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
        if not rows.size:  # without pixels, under others, or too thin for the middle of any cell: then it is its box
            x0, y0, x1, y1 = self.boxes[position]
            own[y0:y1, x0:x1] = True
            rows, columns = np.arange(y0, y1), np.arange(x0, x1)
        box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        labelled = _Object(own, box, self._shares(position))
        for reach in (0, int(look()["ringPlates"])):
            if reach and 100 * np.count_nonzero(self.taken) > look()["crowdedPercent"] * self.taken.size:
                break
            for choice, size in enumerate(sizes):
                search = _Search(self, labelled, size, reach)
                found = search.best()
                if found is not None:
                    x, y = found
                    self._take(np.s_[y : y + search.high, x : x + search.wide])
                    towards = (search.middle[0] * self.cell, search.middle[1] * self.cell) if reach else None
                    return Plate(position, choice, x * self.cell, y * self.cell, towards)
        return None

    def _take(self, cells: tuple[slice, slice]) -> None:
        self.taken[cells] = True
        under = self.owner[cells]
        self.hidden += np.bincount(under[under >= 0], minlength=self.hidden.size)

    def _shares(self, position: int) -> Sums:
        """Return for each object what part a cell is of all that the label of `position` may hide of it; 0 for none."""
        most = int(look()["hiddenPercent"])
        left = most * self.seen - 100 * self.hidden
        shares = np.where(left > 0, np.minimum(most * _WHOLE // np.maximum(left, 1), _WHOLE), _WHOLE)
        shares[position] = 0
        return np.append(shares, 0)  # the last is what cells of no object have


@dataclass(frozen=True, slots=True)
class _Object:
    """What is to be labelled.

    Attributes:
        own: its cells.
        box: x0, y0, x1, y1 around them.
        shares: of each object, what part of all that may be hidden of it is a cell.
    """

    own: Cells
    box: tuple[int, int, int, int]
    shares: Sums


class _Search:
    """All places for one text near its object: costs in whole numbers, and the first of the lowest wins.

    Args:
        grid: what is where.
        labelled: the object.
        size: width and height of the text's plate in pixels.
        reach: how many heights of the plate it may be away from the object; 0 where it must touch it.
    """

    def __init__(self, grid: _Grid, labelled: _Object, size: tuple[int, int], reach: int) -> None:
        own, box, shares = labelled.own, labelled.box, labelled.shares
        self.wide, self.high = (-(-side // grid.cell) for side in size)
        rows, columns = grid.height // grid.cell, grid.width // grid.cell  # whole ones
        far = reach * self.high + 1
        self.x0, self.y0 = max(box[0] - self.wide - far, 0), max(box[1] - self.high - far, 0)
        self.x1, self.y1 = min(box[2] + self.wide + far, columns), min(box[3] + self.high + far, rows)
        window = np.s_[self.y0 : self.y1, self.x0 : self.x1]
        self.own, self.others, self.taken = own[window], (grid.owner[window] >= 0) & ~own[window], grid.taken[window]
        self.shares = shares[grid.owner[window]]
        ys, xs = np.nonzero(own)
        self.total = xs.size
        self.middle = int(xs.sum()) // xs.size, int(ys.sum()) // ys.size
        self.box, self.reach = box, reach

    def best(self) -> tuple[int, int] | None:
        """Return the column and row of the best place's corner; None where there is none."""
        if self.x1 - self.x0 < self.wide or self.y1 - self.y0 < self.high:
            return None
        most = int(look()["hiddenPercent"]) * _WHOLE // 100
        free = (self._under(self.taken) == 0) & (self._under(self.shares) <= most)
        rows, columns = np.indices(free.shape)
        # twice the way from the middle of the object to the middle of the plate
        right = 2 * (columns + self.x0) + self.wide - 2 * self.middle[0]
        down = 2 * (rows + self.y0) + self.high - 2 * self.middle[1]
        own, others = self._under(self.own), self._under(self.others)
        full = self.wide * self.high
        if not self.reach and self.total >= 3 * full:
            inside = free & (10 * own >= 9 * full)
            if inside.any():
                return self._lowest(np.where(inside, right * right + down * down, _NOWHERE))
        near = free & (self._touching() if not self.reach else free)
        if not near.any():
            return None
        above = np.abs(right) + 2 * np.abs(2 * (rows + self.y0 + self.high) - 2 * self.box[1])
        way = np.abs(right) + np.abs(down) if self.reach else above
        cost = 64 * (4 * others + 2 * own) // full * (self.wide + self.high) + 2 * way
        return self._lowest(np.where(near, cost, _NOWHERE))

    def _lowest(self, cost: Sums) -> tuple[int, int]:
        row, column = divmod(int(cost.argmin()), cost.shape[1])
        return column + self.x0, row + self.y0

    def _under(self, cells: Cells | Sums) -> Sums:
        """Return how many of the cells are under the plate, or the sum of their numbers, for each place."""
        sums = _integral(cells)
        wide, high = self.wide, self.high
        under: Sums = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
        return under

    def _touching(self) -> Cells:
        """Return for each place whether the object is under the plate, or next to it."""
        grown = self.own.copy()
        grown[1:] |= self.own[:-1]
        grown[:-1] |= self.own[1:]
        across = grown.copy()
        across[:, 1:] |= grown[:, :-1]
        across[:, :-1] |= grown[:, 1:]
        touching: Cells = self._under(across) > 0
        return touching


def _integral(cells: Cells | Sums) -> Sums:
    """Return the sum of all cells above and to the left of each corner, int64 [rows + 1, columns + 1]."""
    import cv2

    # whole numbers below 2**53 are exact in double precision
    counted = cells.view(np.uint8) if cells.dtype == np.bool_ else cells.astype(np.float64)
    sums: Sums = cv2.integral(counted).astype(np.int64)
    return sums
