"""The values of enlarged samples, for some small patches of a mask only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from maskserve_server.painting.codes import Floats, Integers
from maskserve_server.painting.groups import Groups
from maskserve_server.painting.windows import Window

_Kind = TypeVar("_Kind", np.float32, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """All masks' samples in one array.

    Attributes:
        flat: float32, the samples.
        offset: int64 [N], where each mask's begin.
        extent: int64 [4, N], left, top, width and height of what there is of each mask.
        crop: int64 [4, N], x0, y0, x1, y1 in enlarged samples; outside the values are 0.
    """

    flat: Floats
    offset: Integers
    extent: Integers
    crop: Integers

    @classmethod
    def of(cls, parts: Sequence[tuple[Floats, int, int, Window]]) -> Patches:
        """Return the patches of these samples, each with its left, its top and its crop."""
        sizes = [samples.size for samples, *_ in parts]
        extent = [(left, top, samples.shape[1], samples.shape[0]) for samples, left, top, _ in parts]
        return cls(
            np.concatenate([samples.reshape(-1) for samples, *_ in parts]),
            np.cumsum([0, *sizes[:-1]]),
            np.array(extent, np.int64).T,
            np.array([crop for *_, crop in parts], np.int64).T,
        )

    def part(self, values: npt.NDArray[_Kind], number: int) -> npt.NDArray[_Kind]:
        """Return one mask's part of an array about all, [h, w]."""
        _, _, width, height = self.extent[:, number].tolist()
        start = int(self.offset[number])
        return values[start : start + width * height].reshape(height, width)


def enlarged(patches: Patches, owner: Integers, rows: Chosen, columns: Chosen) -> Floats:
    """Return the enlarged samples that groups of pixels depend on: first along rows, then along columns.

    Args:
        patches: the samples.
        owner: [N], whose mask.
        rows: groups of rows.
        columns: groups of columns.

    Returns:
        float32 [columns, rows, N], from each group's first on.
    """
    along = _enlarged(_samples(patches, owner, rows, columns), 1, rows)
    values = _enlarged(along, 0, columns)
    x0, y0, x1, y1 = patches.crop[:, owner]
    in_x, in_y = columns.inside(x0, x1), rows.inside(y0, y1)
    if not (in_x.all() and in_y.all()):
        values *= in_x[:, None]
        values *= in_y
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Some groups of an axis.

    Attributes:
        groups: all of them.
        index: int64 [N], which ones.
        alike: whether these are all `alike`.
    """

    groups: Groups
    index: Integers
    alike: bool

    def table(self, name: str) -> npt.NDArray[Any]:
        """See `Groups.table`."""
        return self.groups.table(name, self.index, alike=self.alike)

    def inside(self, start: Integers, stop: Integers) -> npt.NDArray[np.bool_]:
        """Return which of the enlarged samples are between two [N] of them, bool [E, N]."""
        number = self.groups.first[self.index] + np.arange(self.groups.span)[:, None]
        return (number >= start) & (number < stop)

    def piece(self, number: Integers, place: Integers) -> Integers:
        """Return the pieces at places of the groups with these numbers, [M] of both."""
        return np.asarray(self.groups.start[self.index[number]] + place)

    def has(self, number: Integers, piece: Integers) -> npt.NDArray[np.bool_]:
        """Return which of these pieces belong to the groups with these numbers."""
        return np.asarray(piece < self.groups.stop[self.index[number]])


def _samples(patches: Patches, owner: Integers, rows: Chosen, columns: Chosen) -> Floats:
    """Return the samples that each group depends on, float32 [columns, rows, N]."""
    left, top, width, height = patches.extent[:, owner]
    x = columns.groups.low[columns.index] - left + np.arange(columns.groups.depth)[:, None]
    y = rows.groups.low[rows.index] - top + np.arange(rows.groups.depth)[:, None]
    x, y = (np.minimum(np.maximum(z, 0), size - 1) for z, size in ((x, width), (y, height)))
    y *= width
    y += patches.offset[owner]
    return np.asarray(patches.flat.take(x[:, None] + y))


def _enlarged(samples: Floats, axis: int, groups: Chosen) -> Floats:
    """Enlarge samples, float32 [C, R, N], along their axis 0 or 1."""
    first, second = groups.table("between")
    weight = groups.table("weight")
    result = chosen(samples, axis, first)
    step = chosen(samples, axis, second)
    step -= result
    step *= weight[:, None] if axis == 0 else weight
    step += result
    return step


def chosen(values: npt.NDArray[_Kind], axis: int, number: Integers) -> npt.NDArray[_Kind]:
    """Return those with the numbers [P, N] or [P, 1], along one of the first two axes of [C, R, N] values."""
    if number.shape[1] == 1:
        return values[number[:, 0]] if axis == 0 else values[:, number[:, 0]]
    _, rows, count = values.shape
    place = np.arange(count)
    if axis == 0:
        index = (number * (rows * count) + place)[:, None] + (np.arange(rows) * count)[:, None]
    else:
        index = (number * count + place) + (np.arange(len(values)) * (rows * count))[:, None, None]
    return np.asarray(values.reshape(-1).take(index))
