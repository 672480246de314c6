"""Masks whose samples are resized to the image in one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from maskserve_server.painting.axes import Line, resized
from maskserve_server.painting.blocks import Blend, Resampling, changes, interpolate
from maskserve_server.painting.cells import Grid, Outline
from maskserve_server.painting.codes import Floats, Integers, margin
from maskserve_server.painting.compiled import painters
from maskserve_server.painting.compiled.library import loaded
from maskserve_server.painting.runs import Canvas
from maskserve_server.painting.strips import interpolated, lengths
from maskserve_server.painting.ways import Costs
from maskserve_server.painting.windows import Window, area

Strips = Callable[[Floats, Line, Line], Iterator[Floats]]  # see `strips.interpolated`

_AT_ONCE = 32  # instances
COSTS = Costs(window=25_000, sample=0, pixel=1.3, look=20_000, cell=190, cell_pixel=1.8, outlines=80_000)


def paint_once(
    samples: Floats, indices: Sequence[int], size: tuple[int, int], windows: list[Window], threshold: float
) -> list[Integers]:
    """Return where samples, resized to `size`, exceed `threshold`: the run lengths inside windows.

    The resize is Paddle's bilinear_interp (align_corners False, align_mode 0).

    Args:
        samples: float32 [N, h, w].
        indices: which of them, one for each window.
        size: height and width to resize to.
        windows: in pixels of the result.
        threshold: pixels with higher values are in the mask.

    Returns:
        for each window int64 [R], the lengths of background, foreground, background... column by column.
    """
    samples = np.ascontiguousarray(samples, np.float32)
    library = loaded()
    if library is not None:
        return painters.once(library, samples, indices, size, windows, threshold=threshold)
    result: list[Integers] = []
    for start in range(0, len(windows), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        result += _paint(samples, indices[some], size, windows[some], threshold)
    return result


def _paint(
    samples: Floats, indices: Sequence[int], size: tuple[int, int], windows: list[Window], threshold: float
) -> list[Integers]:
    grid = Grid(resized(samples.shape[1], size[0]), resized(samples.shape[2], size[1]), Canvas.of(windows))
    return painted(grid, samples, indices, windows, threshold=threshold, arithmetic=(interpolate, interpolated))


def painted(
    grid: Grid,
    samples: Floats,
    indices: Sequence[int],
    windows: list[Window],
    *,
    threshold: float,
    arithmetic: tuple[Blend, Strips],
) -> list[Integers]:
    """Return the run lengths of masks between four samples each.

    Args:
        grid: the pixels.
        samples: float32 [N, h, w], contiguous.
        indices: which of them, one for each window.
        windows: in pixels of the grid.
        threshold: pixels with higher values are in the mask.
        arithmetic: of single pixels, and the same of whole windows.
    """
    limit = np.float32(threshold)

    def outline(owner: int) -> tuple[Outline, float]:
        found = grid.outline(samples[indices[owner]], windows[owner], threshold)
        return found, COSTS.along(len(found.row), found.cells, area(windows[owner]))

    full = {owner: COSTS.full(area(window)) for owner, window in enumerate(windows) if area(window)}
    found = COSTS.chosen(full, outline)
    whole = {
        owner: lengths(arithmetic[1](*grid.lines(samples[indices[owner]], windows[owner])), limit)
        for owner in full
        if owner not in found
    }
    bounds = margin(max((outline.largest for outline in found.values()), default=0.0), threshold)
    resampling = Resampling(grid.columns.weight, grid.rows.weight, arithmetic[0], limit, bounds)
    runs = grid.canvas.runs(_changes(grid, samples, indices, found, resampling))
    return [whole.get(owner, lengths_found) for owner, lengths_found in enumerate(runs)]


def _changes(
    grid: Grid,
    samples: Floats,
    indices: Sequence[int],
    found: dict[int, Outline],
    resampling: Resampling,
) -> Integers:
    """Return the positions at which masks change, unsorted."""
    if not found:
        return np.empty(0, np.int64)
    owner = np.repeat(list(found), [len(outline.row) for outline in found.values()])
    row = np.concatenate([outline.row for outline in found.values()])
    column = np.concatenate([outline.column for outline in found.values()])
    rows, columns = grid.rows, grid.columns
    above = np.array(indices, np.int64)[owner] * samples[0].size + columns.low[column]
    width = samples.shape[2]
    right = columns.high[column] - columns.low[column]
    upper, lower = above + rows.low[row] * width, above + rows.high[row] * width
    corners = samples.reshape(-1).take(np.stack([upper, lower, upper + right, lower + right]))
    below = samples.reshape(-1).take(above + rows.following[row] * width) if rows.gaps else corners[1]
    blocks = grid.blocks(owner, row, column, corners=corners, below=below, threshold=resampling.threshold)
    return changes(blocks, resampling)
