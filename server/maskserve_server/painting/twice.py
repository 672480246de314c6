"""Masks whose samples are resized twice: to the network's input, which is cropped, and from there to the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from maskserve_server.painting.blocks import Blocks, Resampling, changes, chunks, interpolate
from maskserve_server.painting.cells import Grid
from maskserve_server.painting.codes import OUT, Codes, Floats, Integers, codes, crossed, magnitude, margin
from maskserve_server.painting.compiled import painters
from maskserve_server.painting.compiled.library import loaded
from maskserve_server.painting.groups import Groups, Steps
from maskserve_server.painting.patches import Chosen, Patches, chosen, enlarged
from maskserve_server.painting.runs import Canvas
from maskserve_server.painting.strips import interpolated, lengths
from maskserve_server.painting.sums import SumPart
from maskserve_server.painting.ways import Costs
from maskserve_server.painting.windows import Window, area

_AT_ONCE = 32  # instances
COSTS = Costs(window=45_000, sample=1.0, pixel=1.4, look=30_000, cell=330, cell_pixel=1.8, outlines=130_000)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The samples that one mask depends on.

    Attributes:
        samples: float32 [h, w], at least one; outside of them nothing inside the crop depends on any.
        left: the first one's column in the grid of all samples.
        top: its row.
        crop: x0, y0, x1, y1 in pixels of the network's input; outside the values are 0.
    """

    samples: Floats
    left: int
    top: int
    crop: Window


def paint_twice(
    parts: Sequence[Part | SumPart], rows: Steps, columns: Steps, windows: list[Window], threshold: float
) -> list[Integers]:
    """Return where samples, resized twice, exceed `threshold`: the run lengths inside windows.

    Both times it is Paddle's bilinear_interp (align_corners False, align_mode 0).

    Args:
        parts: each mask's samples.
        rows: how many rows there are of samples, of the network's input, and of the image.
        columns: the same of columns.
        windows: in pixels of the image, one for each mask.
        threshold: pixels with higher values are in the mask.

    Returns:
        for each window int64 [R], the lengths of background, foreground, background... column by column.
    """
    along = Groups.of(rows, following=True), Groups.of(columns, following=False)
    library = loaded()
    if library is not None:
        return painters.twice(library, parts, *along, windows, threshold=threshold)
    painter = _Painter(*along, threshold)
    result: list[Integers] = []
    for start in range(0, len(windows), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        result += painter.paint([_plain(part) for part in parts[some]], windows[some])
    return result


def _plain(part: Part | SumPart) -> Part:
    return Part(part.samples(), part.left, part.top, part.crop) if isinstance(part, SumPart) else part


@dataclass(frozen=True, slots=True, eq=False)
class _Painter:
    rows: Groups
    columns: Groups
    threshold: float

    def paint(self, parts: Sequence[Part], windows: list[Window]) -> list[Integers]:
        grid = Grid(self.rows.pieces, self.columns.pieces, Canvas.of(windows))
        patches = Patches.of([(p.samples, p.left, p.top, p.crop) for p in parts])
        bounds = margin(magnitude(patches.flat), self.threshold)
        code, zero = codes(patches.flat, bounds), codes(np.zeros(1, np.float32), bounds)

        def outline(owner: int) -> tuple[tuple[Integers, Integers], float]:
            row, column, cells = self._outline(patches.part(code, owner), parts[owner], windows[owner], zero)
            return (row, column), COSTS.along(len(row), cells, area(windows[owner]))

        full = {owner: self._full(window) for owner, window in enumerate(windows) if area(window)}
        found = COSTS.chosen(full, outline)
        limit = np.float32(self.threshold)
        whole = {i: lengths(self._strips(parts[i], windows[i]), limit) for i in full if i not in found}
        runs = grid.canvas.runs(self._changes(grid, patches, found, bounds))
        return [whole.get(owner, lengths_found) for owner, lengths_found in enumerate(runs)]

    def _changes(
        self,
        grid: Grid,
        patches: Patches,
        found: dict[int, tuple[Integers, Integers]],
        bounds: tuple[np.float32, np.float32],
    ) -> Integers:
        """Return the positions at which masks change, unsorted."""
        positions = [np.empty(0, np.int64)]
        if not found:
            return positions[0]
        owner = np.repeat(list(found), [len(row) for row, _ in found.values()])
        row, column = (np.concatenate([groups[i] for groups in found.values()]) for i in (0, 1))
        resampling = Resampling(
            self.columns.pieces.weight, self.rows.pieces.weight, interpolate, np.float32(self.threshold), bounds
        )
        for some, alike in self._chunks(row, column):
            rows, columns = Chosen(self.rows, row[some], alike), Chosen(self.columns, column[some], alike)
            values = enlarged(patches, owner[some], rows, columns)
            blocks = self._cells(grid, values, codes(values, bounds), owner[some], rows=rows, columns=columns)
            positions.append(changes(blocks, resampling))
        return np.concatenate(positions)

    def _strips(self, part: Part, window: Window) -> Iterator[Floats]:
        """Return all pixels of a window."""
        x0, y0, x1, y1 = window
        left, right = self.columns.enlarged_inside(x0, x1)
        top, bottom = self.rows.enlarged_inside(y0, y1)
        rows = self.rows.enlarged.part(top, bottom, part.top).within(part.samples.shape[0])
        columns = self.columns.enlarged.part(left, right, part.left).within(part.samples.shape[1])
        canvas, done = np.empty((right - left, bottom - top), np.float32), 0
        for strip in interpolated(part.samples, rows, columns):
            canvas[done : done + len(strip)] = strip
            done += len(strip)
        crop_left, crop_top, crop_right, crop_bottom = part.crop
        canvas[: max(crop_left - left, 0)] = 0
        canvas[max(crop_right - left, 0) :] = 0
        canvas[:, : max(crop_top - top, 0)] = 0
        canvas[:, max(crop_bottom - top, 0) :] = 0
        lines = self.rows.pieces.pixels.part(y0, y1, top), self.columns.pieces.pixels.part(x0, x1, left)
        return interpolated(cv2.transpose(canvas), *lines)

    def _chunks(self, row: Integers, column: Integers) -> Iterator[tuple[Integers, bool]]:
        """Yield the groups that are all alike apart from the others, and not too many at once."""
        inner = self.rows.alike[row] & self.columns.alike[column]
        for alike, kind in ((True, np.flatnonzero(inner)), (False, np.flatnonzero(~inner))):
            for some in chunks(len(kind), self.rows.span * self.columns.span):
                yield kind[some], alike

    def _outline(self, code: Codes, part: Part, window: Window, zero: Codes) -> tuple[Integers, Integers, int]:
        """Return row and column of the groups of cells that are not certain to lie on one side of the threshold.

        Also how many groups there are in the window, together with the others.
        """
        x0, y0, x1, y1 = window
        rows, columns = self.rows.inside(y0, y1), self.columns.inside(x0, x1)
        cells = self.rows.cells(code, 0, rows, part.top)
        cells = self.columns.cells(cells, 1, columns, part.left)
        for view, groups, span, (start, stop) in (
            (cells, self.rows, rows, part.crop[1::2]),
            (cells.T, self.columns, columns, part.crop[::2]),
        ):
            before, after = groups.outside(span, start, stop)
            view[:before] &= zero
            view[after:] &= zero
        row, column = crossed(cells)
        return row + rows.start, column + columns.start, cells.size

    def _full(self, window: Window) -> float:
        """Return the cost of all pixels of a window."""
        x0, y0, x1, y1 = window
        (left, right), (top, bottom) = self.columns.enlarged_inside(x0, x1), self.rows.enlarged_inside(y0, y1)
        return COSTS.full(area(window), (right - left) * (bottom - top))

    def _cells(
        self, grid: Grid, values: Floats, code: Codes, owner: Integers, *, rows: Chosen, columns: Chosen
    ) -> Blocks:
        """Return the cells between the enlarged samples of groups that are not certain to lie on one side."""
        _, span, count = values.shape
        left, right, _ = columns.table("corners")
        top, bottom, below = rows.table("corners")
        along = chosen(_with_next(code, 1, rows.groups.depend), 1, top)
        self._close(along, grid, owner, rows.index)
        cells = chosen(_with_next(along, 0, columns.groups.depend), 0, left)
        found = np.flatnonzero(cells == 0)

        pixel = found // count
        group = found - pixel * count
        i = pixel // len(top)
        j = pixel - i * len(top)
        x, y = columns.piece(group, i), rows.piece(group, j)
        x0, y0, x1, y1 = grid.canvas.corners[:, owner[group]]
        real = np.flatnonzero(
            columns.has(group, x) & rows.has(group, y) & grid.columns.meets(x, x0, x1) & grid.rows.meets(y, y0, y1)
        )
        group, i, j, x, y = (index[real] for index in (group, i, j, x, y))
        near, far = (_of(side, i, group) * (span * count) for side in (left, right))
        over, under, next_one = (_of(side, j, group) * count + group for side in (top, bottom, below))
        samples = values.reshape(-1)
        corners = samples.take(np.stack([near + over, near + under, far + over, far + under]))
        following = samples.take(near + next_one) if grid.rows.gaps else corners[1]
        return grid.blocks(owner[group], y, x, corners=corners, below=following, threshold=np.float32(self.threshold))

    def _close(self, code: Codes, grid: Grid, owner: Integers, row: Integers) -> None:
        """Take from the first and the last row of cells in a window that they are certain to be inside."""
        _, y0, _, y1 = grid.canvas.corners
        for end in (y0, y1 - 1):
            pixel = np.minimum(np.maximum(end, 0), len(grid.rows.piece) - 1)
            piece = grid.rows.piece[pixel]
            group = np.flatnonzero(self.rows.of_pixel[pixel][owner] == row)
            number = piece[owner[group]] - self.rows.start[row[group]]
            code[:, number, group] &= OUT


def _of(table: Integers, number: Integers, group: Integers) -> Integers:
    """Return items of a table [P, N] or [P, 1]."""
    return table[number, 0] if table.shape[1] == 1 else table[number, group]


def _with_next(code: Codes, axis: int, count: int) -> Codes:
    """Return the codes [C, R, N] of samples, each joined with those of `count` samples after it along axis 0 or 1."""
    result = code.copy()
    for i in range(1, count + 1):
        if axis == 0:
            result[:-i] &= code[i:]
        else:
            result[:, :-i] &= code[:, i:]
    return result
