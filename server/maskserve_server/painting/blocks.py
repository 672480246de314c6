"""Blocks of pixels between four samples: where the mask changes along their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from maskserve_server.painting.codes import IN, OUT, Floats, Integers, codes

Bits = npt.NDArray[np.bool_]
# The values of pixels [C, R, N], from corners [4, N] and the weights of columns [C, N] and of rows [R, N].
Blend = Callable[[Floats, Floats, Floats], Floats]

_AT_ONCE = 1 << 18  # pixels: fewer at once cost more calls, more cost more memory
_LARGE = 512  # pixels of a block that is better divided first
_PARTS = 4  # that a side of it is divided into
_SMALL = 4  # pixels, the least side of a part


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """N blocks of pixels. Positions count pixels column by column through all windows of an image.

    Attributes:
        corners: float32 [4, N], the samples: upper left, lower left, upper right, lower right.
        x: int64 [N], the first column, as an index of the columns' weights.
        y: int64 [N], the first row, as an index of the rows' weights.
        width: int64 [N], columns.
        height: int64 [N], rows.
        entry: bool [N], what the pixel above a block is taken to be.
        exit: bool [N], what the pixel below a block is taken to be.
        position: int64 [N], of the first pixel.
        stride: int64 [N], from a column to the next.
    """

    corners: Floats
    x: Integers
    y: Integers
    width: Integers
    height: Integers
    entry: Bits
    exit: Bits
    position: Integers
    stride: Integers

    def __len__(self) -> int:
        return len(self.x)

    def of(self, chosen: slice | Integers) -> Blocks:
        """Return some of the blocks."""
        return Blocks(*(getattr(self, field.name)[..., chosen] for field in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """How the pixels of blocks are evaluated.

    Attributes:
        columns: float32, the weights of columns.
        rows: float32, the weights of rows.
        blend: what makes values of samples and weights.
        threshold: float32; pixels above it are in the mask.
        bounds: below the first and above the second of these, rounding does not matter.
    """

    columns: Floats
    rows: Floats
    blend: Blend
    threshold: np.float32
    bounds: tuple[np.float32, np.float32]

    def values(self, blocks: Blocks, columns: Integers, rows: Integers) -> Floats:
        """Return the values at some columns [C, N] and rows [R, N] of the blocks, float32 [C, R, N].

        Where they lie outside the weights, any value comes.
        """
        across = self.columns.take(columns + blocks.x, mode="clip")
        down = self.rows.take(rows + blocks.y, mode="clip")
        return np.asarray(self.blend(blocks.corners, across, down))


def interpolate(corners: Floats, across: Floats, down: Floats) -> Floats:
    """Interpolate step by step along rows, then along columns, as Paddle's bilinear_interp does; see `Blend`."""
    steps = corners[1::2] - corners[::2]
    left = steps[0] * down
    left += corners[0]
    right = steps[1] * down
    right += corners[2]
    right -= left
    values: Floats = right[None] * across[:, None]
    values += left
    return values


def changes(blocks: Blocks, resampling: Resampling) -> Integers:
    """Return the positions at which a block's pixels differ from the one before, unsorted.

    Where two blocks meet, each one compares its own pixel with what the sample between them says. The two changes at
    that position are one or none: those that come twice cancel.
    """
    found = [np.empty(0, np.int64)]
    pending = list(_alike(blocks))
    while pending:
        some = pending.pop()
        width, height = int(some.width.max()), int(some.height.max())
        if width * height > _LARGE:
            pending += _divided(some, resampling, _part(width), _part(height))
        else:
            slices = chunks(len(some), width * (height + 2))
            found += [_changes(some.of(chunk), resampling) for chunk in slices]
    return np.concatenate(found)


def _alike(blocks: Blocks) -> Iterator[Blocks]:
    """Yield the blocks, by their sizes where these are very different: they are evaluated side by side."""
    if not len(blocks):
        return
    pixels = int(blocks.width @ blocks.height)
    if 2 * pixels > int(blocks.width.max()) * int(blocks.height.max()) * len(blocks):
        yield blocks
        return
    key = np.frexp(blocks.width)[1] * 64 + np.frexp(blocks.height)[1]
    for value in np.unique(key).tolist():
        yield blocks.of(np.flatnonzero(key == value))


def chunks(count: int, pixels: int) -> Iterator[slice]:
    """Yield slices of `count` things with `pixels` each: as many at once as have together few enough pixels."""
    size = max(1, _AT_ONCE // pixels)
    return (slice(start, start + size) for start in range(0, count, size))


def _changes(blocks: Blocks, resampling: Resampling) -> Integers:
    width, height, count = int(blocks.width.max()), int(blocks.height.max()), len(blocks)
    values = resampling.values(blocks, np.arange(width)[:, None], np.arange(height)[:, None])
    inside = np.empty((width, height + 2, count), np.bool_)
    inside[:, 0] = blocks.entry
    inside[:, -1] = blocks.exit
    np.greater(values, resampling.threshold, out=inside[:, 1:-1])
    for row in range(int(blocks.height.min()), height):
        np.copyto(inside[:, row + 1], blocks.exit, where=blocks.height <= row)
    changed = inside[:, 1:] != inside[:, :-1]
    for column in range(int(blocks.width.min()), width):
        changed[column] &= blocks.width > column
    found = np.flatnonzero(changed)
    pixel = found // count
    block = found - pixel * count
    columns = pixel // (height + 1)
    return np.asarray(blocks.position[block] + columns * blocks.stride[block] + (pixel - columns * (height + 1)))


def _part(side: int) -> int:
    return max(_SMALL, -(-side // _PARTS))


def _divided(blocks: Blocks, resampling: Resampling, width: int, height: int) -> Iterator[Blocks]:
    """Return parts of blocks, without those whose four corner pixels show that nothing changes inside them."""
    for chunk in chunks(len(blocks), 4 * _PARTS * _PARTS):
        parts = _parts(blocks.of(chunk), resampling, width, height)
        if len(parts):
            yield parts


def _parts(blocks: Blocks, resampling: Resampling, width: int, height: int) -> Blocks:
    left, right = _ends(blocks.width, width)
    top, bottom = _ends(blocks.height, height)
    values = resampling.values(blocks, _interleaved(left, right), _interleaved(top, bottom))
    code = codes(values, resampling.bounds).reshape(len(left), 2, len(top), 2, len(blocks))
    side = code[:, 0] & code[:, 1]
    certain = side[:, :, 0] & side[:, :, 1]

    first = values[::2, ::2] > resampling.threshold  # what the pixel above the next part is taken to be, and so on
    entry = first.copy()
    entry[:, 0] = blocks.entry
    leave = np.empty_like(first)
    leave[:, :-1] = first[:, 1:]
    leave[:, -1] = blocks.exit
    for number in range(len(top) - 1):
        np.copyto(leave[:, number], blocks.exit, where=top[number + 1] >= blocks.height)
    certain &= np.where(entry, IN, OUT)
    certain &= np.where(leave, IN, OUT)
    absent = (left >= blocks.width)[:, None] | (top >= blocks.height)
    found = np.flatnonzero((certain == 0) & ~absent)
    pixel, block = np.divmod(found, len(blocks))
    column, row = np.divmod(pixel, len(top))
    column, row = column * width, row * height
    return Blocks(
        corners=blocks.corners[:, block],
        x=blocks.x[block] + column,
        y=blocks.y[block] + row,
        width=np.minimum(blocks.width[block] - column, width),
        height=np.minimum(blocks.height[block] - row, height),
        entry=entry.ravel()[found],
        exit=leave.ravel()[found],
        position=blocks.position[block] + column * blocks.stride[block] + row,
        stride=blocks.stride[block],
    )


def _ends(sizes: Integers, part: int) -> tuple[Integers, Integers]:
    """Return the first [P, 1] and last [P, N] pixel of each part; a part that does not exist ends with the block."""
    first = np.arange(0, int(sizes.max()), part)[:, None]
    return first, np.minimum(first + (part - 1), sizes - 1)


def _interleaved(first: Integers, last: Integers) -> Integers:
    pairs = np.empty((len(first), 2, last.shape[1]), np.int64)
    pairs[:, 0], pairs[:, 1] = np.minimum(first, last), last
    return pairs.reshape(-1, last.shape[1])
