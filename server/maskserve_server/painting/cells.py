"""The cells of a resized grid inside windows: which pixels they have, and where these are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskserve_server.painting.axes import Axis, Line
from maskserve_server.painting.blocks import Blocks
from maskserve_server.painting.codes import Floats, Integers, codes, crossed, magnitude, margin
from maskserve_server.painting.runs import Canvas
from maskserve_server.painting.windows import Window


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """The cells that an instance's outline may run through.

    Attributes:
        row: int64 [N], pieces of rows.
        column: int64 [N], pieces of columns.
        cells: how many there are in the window, together with the others.
        largest: the magnitude of the samples.
    """

    row: Integers
    column: Integers
    cells: int
    largest: float


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The rows and columns of an image in pieces between samples, and the windows of its instances.

    Where instances have rows and columns of their own, these follow each other, and the windows count in them.

    Attributes:
        rows: how samples become rows.
        columns: how samples become columns.
        canvas: the windows.
    """

    rows: Axis
    columns: Axis
    canvas: Canvas

    def blocks(
        self,
        owner: Integers,
        row: Integers,
        column: Integers,
        *,
        corners: Floats,
        below: Floats,
        threshold: np.float32,
    ) -> Blocks:
        """Return the pixels of some cells, as far as they are inside the window.

        Args:
            owner: [N], whose window.
            row: [N], pieces of the rows.
            column: [N], pieces of the columns.
            corners: float32 [4, N], see `Blocks`.
            below: float32 [N], the upper left sample of the cell below.
            threshold: what is above it is in the mask.
        """
        x0, y0, x1, y1 = self.canvas.corners
        left, right = self.columns.start[column], self.columns.stop[column]
        top, bottom = self.rows.start[row], self.rows.stop[row]
        highest, lowest = y0[owner], y1[owner]
        x, y = np.maximum(left, x0[owner]), np.maximum(top, highest)
        return Blocks(
            corners=corners,
            x=x,
            y=y,
            width=np.minimum(right, x1[owner]) - x,
            height=np.minimum(bottom, lowest) - y,
            entry=(corners[0] > threshold) & (top > highest),
            exit=(below > threshold) & (bottom < lowest),
            position=self.canvas.position(owner, x, y),
            stride=self.canvas.height[owner],
        )

    def lines(self, samples: Floats, window: Window) -> tuple[Floats, Line, Line]:
        """Return the samples [h, w] that a window depends on, and its rows and columns."""
        x0, y0, x1, y1 = window
        rows, columns = self.rows.pixels, self.columns.pixels
        top, left = int(rows.near[y0]), int(columns.near[x0])
        part = samples[top : int(rows.far[y1 - 1]) + 1, left : int(columns.far[x1 - 1]) + 1]
        return np.ascontiguousarray(part), rows.part(y0, y1, top), columns.part(x0, x1, left)

    def outline(self, samples: Floats, window: Window, threshold: float) -> Outline:
        """Return the cells of one instance that are not certain to lie on one side of the threshold.

        Args:
            samples: float32 [h, w].
            window: not empty.
            threshold: what is above it is in the mask.
        """
        x0, y0, x1, y1 = window
        first_row, first_column = int(self.rows.piece[y0]), int(self.columns.piece[x0])
        rows = slice(first_row, int(self.rows.piece[y1 - 1]) + 1)
        columns = slice(first_column, int(self.columns.piece[x1 - 1]) + 1)
        top, left = int(self.rows.low[rows.start]), int(self.columns.low[columns.start])
        bottom, right = int(self.rows.high[rows.stop - 1]) + 1, int(self.columns.high[columns.stop - 1]) + 1
        part = samples[top:bottom, left:right]
        largest = magnitude(part)
        code = self.rows.cells(codes(part, margin(largest, threshold)), 0, rows, top)
        code = self.columns.cells(code, 1, columns, left)
        row, column = crossed(code)
        return Outline(row + first_row, column + first_column, code.size, largest)
