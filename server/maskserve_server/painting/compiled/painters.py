"""Masks painted by the compiled library: the counterparts of `once`, `pasted` and `twice`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from maskserve_server.painting.axes import resized
from maskserve_server.painting.codes import Floats, Integers
from maskserve_server.painting.compiled.library import ONCE, PASTED, TWICE, CMask, Library, line
from maskserve_server.painting.sums import SumPart, bounds
from maskserve_server.painting.windows import Window

if TYPE_CHECKING:
    from maskserve_server.painting.groups import Groups
    from maskserve_server.painting.twice import Part

_AT_ONCE = 32  # masks: each has its sums meanwhile


def once(
    library: Library,
    samples: Floats,
    indices: Sequence[int],
    size: tuple[int, int],
    windows: list[Window],
    *,
    threshold: float,
) -> list[Integers]:
    """Return the run lengths of samples [N, h, w], contiguous, that are resized in one step; see `once.paint_once`."""
    _, height, width = samples.shape
    rows, columns = resized(height, size[0]).pixels, resized(width, size[1]).pixels
    mask = CMask(kind=ONCE, height=height, width=width, stride=width, threshold=threshold)
    mask.rows, mask.columns = line(rows), line(columns)
    first, step = samples.ctypes.data, height * width * samples.itemsize
    runs = []
    for index, window in zip(indices, windows, strict=True):
        mask.samples, mask.window[:] = first + index * step, window
        runs.append(library.runs(mask))
    return runs


def pasted(library: Library, samples: Floats, boxes: Floats, windows: list[Window], threshold: float) -> list[Integers]:
    """Return the run lengths of samples [N, h, w] with zeros around them, contiguous; see `pasted.paste`.

    Pixels above the threshold are in the mask.
    """
    _, height, width = samples.shape
    mask = CMask(kind=PASTED, height=height, width=width, stride=width, threshold=threshold)
    first, step = samples.ctypes.data, height * width * samples.itemsize
    runs = []
    for number, (box, window) in enumerate(zip(boxes.tolist(), windows, strict=True)):
        mask.samples, mask.box[:], mask.window[:] = first + number * step, box, window
        runs.append(library.runs(mask))
    return runs


def twice(
    library: Library,
    parts: Sequence[Part | SumPart],
    rows: Groups,
    columns: Groups,
    windows: list[Window],
    *,
    threshold: float,
) -> list[Integers]:
    """Return the run lengths of samples that are resized twice; see `twice.paint_twice`."""
    any_mask = CMask(kind=TWICE, threshold=threshold)
    any_mask.rows, any_mask.columns = line(rows.pieces.pixels), line(columns.pieces.pixels)
    any_mask.first_rows, any_mask.first_columns = line(rows.enlarged), line(columns.enlarged)
    any_mask.bounds[:] = bounds(threshold)
    runs = []
    for start in range(0, len(windows), _AT_ONCE):
        some, places = parts[start : start + _AT_ONCE], windows[start : start + _AT_ONCE]
        masks = (CMask * len(some))(*[any_mask] * len(some))
        samples = [_fill(*each) for each in zip(masks, some, places, strict=True)]
        runs += library.runs_of_each(masks)
        del samples  # they had to be alive until now
    return runs


def _fill(mask: CMask, part: Part | SumPart, window: Window) -> Floats:
    """Let a mask have these samples; return them, which must be alive as long."""
    if isinstance(part, SumPart):
        samples = part.planes
        mask.planes, mask.plane = len(samples), samples.strides[0] // samples.itemsize
        mask.weights = part.weights.ctypes.data
    else:
        samples = _rows(part.samples)
    mask.samples, (mask.height, mask.width) = samples.ctypes.data, samples.shape[-2:]
    mask.stride = samples.strides[-2] // samples.itemsize
    mask.top, mask.left, mask.crop[:], mask.window[:] = part.top, part.left, part.crop, window
    return samples


def _rows(samples: Floats) -> Floats:
    """Return samples whose rows are float32 without gaps, wherever the rows are."""
    even = samples.flags.aligned and samples.strides[1] == samples.itemsize
    if samples.dtype == np.float32 and even:
        return samples
    return np.ascontiguousarray(samples, np.float32)
