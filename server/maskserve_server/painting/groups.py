"""Two resizes along one axis: the pieces of the second, in groups that begin between the same samples of the first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from maskserve_server.painting.axes import Axis, Line, resized, taps
from maskserve_server.painting.codes import Codes, Floats, Integers, joined, sliding

_REACH = 3  # samples: with many more, groups would rather have each its own


@dataclass(frozen=True, slots=True)
class Steps:
    """The lengths of one axis.

    Attributes:
        samples: of the samples.
        enlarged: of what they are resized to first.
        visible: how much of that is kept, from its start.
        image: of what the rest is resized to.
    """

    samples: int
    enlarged: int
    visible: int
    image: int


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The two resizes along one axis.

    A group's pixels depend on the samples from `low` to `high`, by way of the enlarged ones from `first` to `last`.
    Inside of tables, samples and enlarged samples are counted from these `low` and `first`.

    Attributes:
        pieces: the second resize.
        enlarged: the first resize.
        of_pixel: int64, the group of each pixel.
        start: int64 [G], each group's first piece.
        stop: int64 [G], the piece after each group's last one.
        first: int64 [G], see above.
        last: int64 [G], see above.
        low: int64 [G], see above.
        high: int64 [G], see above.
        between: int64 [2, E, G], the two samples of each of a group's enlarged ones.
        weight: float32 [E, G], of the second of these.
        corners: int64 [3, P, G], the enlarged samples `low`, `high` and `following` of each of a group's pieces.
        alike: bool [G], whether a group's enlarged samples are made as those of the group in the middle are.
        regular: whether the corners of all groups that are alike are the same, too.
        depend: how many enlarged samples after its `low` a piece depends on at most.
        reach: the largest difference between `high` and `low`.
        offset: what to add to a group's number to get its first sample or one before; None where that varies.
    """

    pieces: Axis
    enlarged: Line
    of_pixel: Integers
    start: Integers
    stop: Integers
    first: Integers
    last: Integers
    low: Integers
    high: Integers
    between: Integers
    weight: Floats
    corners: Integers
    alike: npt.NDArray[np.bool_]
    regular: bool
    depend: int
    reach: int
    offset: int | None

    @staticmethod
    @lru_cache(maxsize=32)
    def of(steps: Steps, *, following: bool) -> Groups:
        """Return the groups along an axis.

        Args:
            steps: the lengths.
            following: whether a group also depends on the first enlarged sample of the piece after it.
        """
        pieces = resized(steps.visible, steps.image)
        lower, upper, weight = taps(steps.samples, steps.enlarged, 0, steps.visible)
        begin, end = lower[pieces.low], upper[pieces.low]
        new = np.append(True, (begin[1:] != begin[:-1]) | (end[1:] != end[:-1]))
        start = np.flatnonzero(new)
        stop = np.append(start[1:], len(new))
        first, last = pieces.low[start], pieces.high[stop - 1]
        if following:
            last = np.maximum(last, pieces.following[stop - 1])
        low, high = lower[first], upper[last]
        offset, reach = _even(low, high)

        enlarged = np.minimum(first + np.arange(int((last - first).max()) + 1)[:, None], steps.visible - 1)
        between, weights = np.stack([lower[enlarged], upper[enlarged]]) - low, weight[enlarged]
        piece = np.minimum(start + np.arange(int((stop - start).max()))[:, None], stop - 1)
        corners = np.stack([pieces.low[piece], pieces.high[piece], pieces.following[piece]]) - first
        corners = np.minimum(corners, len(enlarged) - 1)
        middle = len(first) // 2
        alike = (between == between[:, :, middle, None]).all(axis=(0, 1)) & (weights == weights[:, middle, None]).all(
            axis=0
        )
        depend = min(
            int((corners[1:] - corners[0]).max() if following else (corners[1] - corners[0]).max()), len(enlarged) - 1
        )
        regular = bool((corners[:, :, alike] == corners[:, :, middle, None]).all())
        bounds = (start, stop, first, last, low, high)
        of_pixel = (np.cumsum(new) - 1)[pieces.piece]
        return Groups(
            pieces,
            Line(lower, upper, weight),
            of_pixel,
            *bounds,
            between,
            weights,
            corners,
            alike,
            regular,
            depend,
            reach,
            offset,
        )

    @property
    def depth(self) -> int:
        """The largest number of samples of a group."""
        return int(self.between.max()) + 1

    @property
    def span(self) -> int:
        """The largest number of enlarged samples of a group."""
        return self.between.shape[1]

    def inside(self, start: int, stop: int) -> slice:
        """Return the groups that have pixels from `start` to `stop`."""
        return slice(int(self.of_pixel[start]), int(self.of_pixel[stop - 1]) + 1)

    def enlarged_inside(self, start: int, stop: int) -> tuple[int, int]:
        """Return the enlarged samples that pixels from `start` to `stop` depend on."""
        return int(self.pieces.pixels.near[start]), int(self.pieces.pixels.far[stop - 1]) + 1

    def cells(self, code: Codes, along: int, groups: slice, start: int) -> Codes:
        """Return the codes of groups.

        Args:
            code: of samples, [h, w]; what lies outside is taken to be as at the border.
            along: their axis.
            groups: which ones.
            start: the number of the first sample in `code`.
        """
        if self.offset is not None:
            return sliding(code, along, groups.start + self.offset - start, groups.stop - groups.start, self.reach)
        low, high, end = self.low[groups] - start, self.high[groups] - start, code.shape[along] - 1
        samples = (np.minimum(np.maximum(np.minimum(low + i, high), 0), end) for i in range(self.reach + 1))
        return joined(code, along, *samples)

    def outside(self, groups: slice, start: int, stop: int) -> tuple[int, int]:
        """Return how many groups depend on samples before `start`, and from which on they do on some past `stop`."""
        first = self.first[groups].searchsorted(start)
        return int(first), int(self.last[groups].searchsorted(stop))

    def table(self, name: str, groups: Integers, *, alike: bool) -> npt.NDArray[Any]:
        """Return a table's columns for groups; one column where all of these are alike in it.

        Args:
            name: of the attribute.
            groups: [N].
            alike: whether all of these are `alike`.
        """
        table: npt.NDArray[Any] = getattr(self, name)
        if alike and (self.regular or name != "corners"):
            return table[..., groups[:1]]
        return table.take(groups, axis=-1)


def _even(low: Integers, high: Integers) -> tuple[int | None, int]:
    """Return `offset` and `reach` of a group's samples."""
    offset = int(low[-1]) - len(low) + 1
    sample = np.arange(offset, offset + len(low))
    reach = int((high - sample).max())
    if np.array_equal(np.maximum(sample, 0), low) and reach <= _REACH:
        return offset, reach
    return None, int((high - low).max())
