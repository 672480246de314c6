"""Arithmetic on COCO run lengths: what can be said about a mask without painting it.

A mask of height h and width w is read column by column; its runs are the lengths of the alternating stretches of
background and foreground, background first (so the first run may be 0). COCO's compressed form writes each run, from
the fourth on as the difference to the run two before, in groups of five bits from the low end: bit 5 says that another
group follows, the highest bit of the last group is the sign, and 48 is added to make every byte printable
(``rleToString`` in cocoapi's ``maskApi.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Runs = NDArray[np.int64]

_GROUPS = 7  # five bits each: a number of at most 2**34, far beyond any image
_LONGEST = 1 << 34  # of a run: where differences add up to more, a sum of runs may overflow

_SHORT = 16  # pixels of a run, on average
_WORD = 64
_SHIFTS = [np.uint64(1 << step) for step in range(6)]  # they sum up the bits below each bit of a word


def parse_counts(counts: bytes) -> Runs:
    """Return the run lengths that compressed COCO `counts` stand for.

    Raises:
        ValueError: these are not compressed counts, or a run is negative or absurdly long.
    """
    groups = np.frombuffer(counts, np.uint8) - np.uint8(48)  # what was below 48 is far above 63 now
    if groups.size == 0:
        return groups.astype(np.int64)
    if groups.max() > 63 or groups[-1] & 0x20:
        raise ValueError("not compressed COCO run lengths")
    runs = _integers(groups)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if runs.min() < 0:
        raise ValueError("compressed COCO run lengths with a negative run")
    if runs.max() > _LONGEST:
        raise ValueError("compressed COCO run lengths with an absurdly long run")
    return runs


def _integers(groups: NDArray[np.uint8]) -> Runs:
    """Return the numbers that groups [N] of five bits make, from the highest group of each number down."""
    ends = np.flatnonzero(groups < 0x20)
    lengths = np.diff(ends, prepend=-1)
    longest = int(lengths.max())
    if longest > _GROUPS:
        raise ValueError("compressed COCO run lengths with an absurdly long run")
    highest = groups[ends].astype(np.int64)
    values: Runs = (highest ^ 0x10) - 0x10  # bit 4 is the sign
    low = groups & 0x1F
    for place in range(1, longest):
        longer = np.flatnonzero(lengths > place)
        values[longer] = (values[longer] << 5) + low[ends[longer] - place]
    return values


def format_counts(runs: Runs) -> bytes:
    """Return the compressed COCO counts of `runs`: the inverse of `parse_counts`."""
    values = runs.copy()
    values[3:] -= runs[1:-2]
    bits = values ^ (values >> 63)  # of a negative number, those that are not its sign
    lengths, limit = np.ones(values.size, np.int64), 16
    while (longer := bits >= limit).any():
        lengths += longer
        limit <<= 5
    ends = np.cumsum(lengths)
    text = np.empty(int(lengths.sum()), np.uint8)
    for place in range(int(lengths.max(initial=0))):
        some = np.flatnonzero(lengths > place)
        more = (lengths[some] > place + 1) << 5
        text[ends[some] - lengths[some] + place] = (values[some] >> 5 * place & 0x1F | more) + 48
    return text.tobytes()


def edges(counts: bytes) -> Runs:
    """Return where the runs of compressed COCO `counts` end, background first.

    Raises:
        ValueError: see `parse_counts`.
    """
    return np.cumsum(parse_counts(counts))


def inside(ends: Runs) -> NDArray[np.uint8]:
    """Return 1 for each pixel of the mask whose runs end there, and 0 for the others, column by column."""
    runs = np.diff(ends, prepend=0)
    if _SHORT * runs.size > runs.sum() and runs[1:].all():
        return _inside_of_short_runs(ends)
    return np.repeat((np.arange(runs.size) & 1).astype(np.uint8), runs)


def _inside_of_short_runs(ends: Runs) -> NDArray[np.uint8]:
    """Return what `inside` does, 64 pixels at a time: `repeat` takes a step for each run. No end stands there twice."""
    total = int(ends[-1])
    flips = np.zeros(-(-total // _WORD) * _WORD, np.bool_)
    flips[ends[:-1]] = True
    words = np.packbits(flips, bitorder="little").view(np.dtype("<u8"))
    for shift in _SHIFTS:
        words ^= words << shift
    ends_inside = np.bitwise_xor.accumulate(words >> np.uint64(_WORD - 1))  # whether a word's last pixel is
    words[1:] ^= np.negative(ends_inside[:-1])
    return np.unpackbits(words.view(np.uint8), count=total, bitorder="little")


def area(ends: Runs) -> int:
    """Return the pixels of the mask whose runs end there."""
    inside = ends[1::2]
    return int((inside - ends[: 2 * inside.size : 2]).sum())


def intervals(runs: Runs) -> tuple[Runs, Runs]:
    """Return the starts and ends (exclusive) of the foreground stretches, in column-major order; none is empty."""
    edges = np.cumsum(runs)
    starts, ends = edges[0::2][: runs.size // 2], edges[1::2]
    filled = ends > starts
    return starts[filled], ends[filled]


def from_intervals(starts: Runs, ends: Runs, total: int) -> Runs:
    """Return the runs of a mask of `total` pixels with these stretches of foreground: sorted, disjoint, may touch."""
    apart = starts[1:] > ends[:-1]
    starts = starts[np.concatenate(([True], apart))] if starts.size else starts
    ends = ends[np.concatenate((apart, [True]))] if ends.size else ends
    edges = np.empty(2 * starts.size + 1, np.int64)
    edges[0:-1:2], edges[1::2], edges[-1] = starts, ends, total
    runs: Runs = np.diff(edges, prepend=0)
    return runs[:-1] if runs[-1] == 0 and runs.size > 1 else runs


def place(runs: Runs, box: tuple[int, int, int, int], size: tuple[int, int]) -> Runs:
    """Return the runs on a whole canvas of a mask known inside a window.

    Args:
        runs: the run lengths inside the window.
        box: x, y, width, height of the window, inside the canvas.
        size: height and width of the canvas.
    """
    x, y, _, height = box
    starts, ends = intervals(runs)
    if height:
        starts, ends = _split_columns(starts, ends, height)
        offset = x * size[0] + y
        shift = starts // height * (size[0] - height) + offset
        starts, ends = starts + shift, ends + shift
    return from_intervals(starts, ends, size[0] * size[1])


def _split_columns(starts: Runs, ends: Runs, height: int) -> tuple[Runs, Runs]:
    """Cut the stretches where a column of `height` pixels ends."""
    first, last = starts // height, (ends - 1) // height
    pieces = last - first + 1
    owner = np.repeat(np.arange(starts.size), pieces)
    column = first[owner] + np.arange(owner.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    return np.maximum(starts[owner], column * height), np.minimum(ends[owner], (column + 1) * height)


def row_extent(starts: Runs, ends: Runs, height: int) -> tuple[int, int]:
    """Return the first and the last row that the stretches touch, in columns of `height` pixels."""
    starts, ends = _split_columns(starts, ends, height)
    return int((starts % height).min()), int(((ends - 1) % height).max())
