"""Resizing along one axis: which two samples a pixel lies between, and how much the second one counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from maskserve_server.painting.codes import Codes, Floats, Integers, joined, sliding


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Pixels in a line.

    Attributes:
        near: int64, each pixel's first sample.
        far: int64, each pixel's second sample.
        weight: float32, of the second sample.
    """

    near: Integers
    far: Integers
    weight: Floats

    def part(self, start: int, stop: int, first: int) -> Line:
        """Return the pixels from `start` to `stop`, with samples counted from `first`."""
        return Line(self.near[start:stop] - first, self.far[start:stop] - first, self.weight[start:stop])

    def within(self, count: int) -> Line:
        """Return the same pixels with samples among `count`: what lies outside is as at the border."""
        return Line(np.clip(self.near, 0, count - 1), np.clip(self.far, 0, count - 1), self.weight)


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """The pixels of one axis, and its pieces: stretches of pixels between the same two samples.

    Attributes:
        pixels: what each one is between.
        piece: int64, the piece that each pixel belongs to.
        start: int64, each piece's first pixel.
        stop: int64, the pixel after each piece's last one.
        low: int64, each piece's first sample.
        high: int64, each piece's second sample; the same as `low` at the two ends of the axis.
        following: int64, the first sample of the piece after each one; `high` for the last.
        gaps: whether some `following` is neither `low` nor `high` of its piece: the axis is made smaller.
        offset: what to add to a piece's number to get its first sample, and one more for the second, as far as there
            are such samples; None where pieces have other ones.
    """

    pixels: Line
    piece: Integers
    start: Integers
    stop: Integers
    low: Integers
    high: Integers
    following: Integers
    gaps: bool
    offset: int | None

    @classmethod
    def of(cls, low: Integers, high: Integers, weight: Floats, breaks: Integers | None = None) -> Axis:
        """Return the axis of pixels with these samples and weights.

        Args:
            low: each pixel's first sample, rising from piece to piece.
            high: each pixel's second sample.
            weight: of the second sample.
            breaks: pixels at which a piece starts whatever the samples are.
        """
        first = np.ones(len(low), np.bool_)
        np.not_equal(low[1:], low[:-1], out=first[1:])
        first[1:] |= high[1:] != high[:-1]
        if breaks is not None:
            first[breaks] = True
        start = np.flatnonzero(first)
        stop = np.append(start[1:], len(low))
        pixels, low, high = Line(low, high, weight), low[start], high[start]
        following = np.append(low[1:], high[-1:])
        gaps = bool(((following != high) & (following != low)).any())
        offset = int(low[-1]) - len(low) + 1 if len(low) else 0
        sample, end = np.arange(offset, offset + len(low)), high.max(initial=0)
        even = np.array_equal(np.maximum(sample, 0), low) and np.array_equal(np.minimum(sample + 1, end), high)
        pieces = (start, stop, low, high, following)
        return cls(pixels, np.cumsum(first) - 1, *pieces, gaps, offset if even else None)

    @property
    def weight(self) -> Floats:
        """float32, of each pixel's second sample."""
        return self.pixels.weight

    def cells(self, code: Codes, along: int, pieces: slice, start: int) -> Codes:
        """Return the codes of pieces.

        Args:
            code: of samples, [h, w].
            along: their axis.
            pieces: which ones.
            start: the number of the first sample in `code`.
        """
        if self.offset is not None and not self.gaps:
            return sliding(code, along, pieces.start + self.offset - start, pieces.stop - pieces.start, 1)
        samples = [self.low[pieces], self.high[pieces]]
        if self.gaps:
            samples.append(np.append(samples[0][1:], samples[1][-1:]))
        return joined(code, along, *(sample - start for sample in samples))

    def meets(self, piece: Integers, start: Integers, stop: Integers) -> npt.NDArray[np.bool_]:
        """Return which pieces have pixels from `start` to `stop`; there are none behind the last one."""
        last = len(self.start) - 1
        piece = np.minimum(piece, last)
        return (self.start[piece] < stop) & (self.stop[piece] > start)


def taps(source: int, target: int, start: int, stop: int) -> tuple[Integers, Integers, Floats]:
    """Return the two samples of each pixel from `start` to `stop` and the weight of the second.

    In single precision throughout, as in Paddle: in a mask of zeros and ones a pixel half-way between two is common.
    """
    half = np.float32(0.5)
    position = np.float32(source / target) * (np.arange(start, stop, dtype=np.float32) + half) - half
    above = np.floor(position)
    low = np.clip(above, 0, source - 1).astype(np.int64)
    high = np.clip(above + 1, 0, source - 1).astype(np.int64)
    return low, high, (position - above).astype(np.float32)


@lru_cache(maxsize=64)
def resized(source: int, target: int) -> Axis:
    """Return the axis of `source` samples resized to `target` pixels."""
    return Axis.of(*taps(source, target, 0, target))


def spread(counts: Integers) -> tuple[Integers, Integers]:
    """Return for each of sum(`counts`) items, in order: the group it belongs to, and its number in the group."""
    group = np.repeat(np.arange(len(counts)), counts)
    return group, np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
