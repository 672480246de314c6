"""Outlines of masks along the edges of their pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Point = tuple[int, int]


def outlines(crop: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """Return the closed outlines of a mask: clockwise around foreground, counter-clockwise around holes.

    They run along pixel edges, so that the area inside is the number of pixels, exactly. Pixels that touch at a corner
    only belong to one outline, which passes this corner twice; holes that touch at a corner have an outline each.

    Args:
        crop: [h, w], non-zero is foreground.

    Returns:
        arrays [N, 2] of x, y, the corners only; x from 0 to w, y from 0 to h.
    """
    following = _edges(np.pad(crop != 0, 1))
    found = []
    while following:
        start = next(iter(following))
        found.append(_walk(following, start))
    return found


def _edges(inside: NDArray[np.bool_]) -> dict[Point, list[Point]]:
    """Return where the outline goes on to from each of its corners; two ways where pixels touch there."""
    following: dict[Point, list[Point]] = {}
    top = inside[1:, 1:-1] & ~inside[:-1, 1:-1]
    bottom = ~inside[1:, 1:-1] & inside[:-1, 1:-1]
    left = inside[1:-1, 1:] & ~inside[1:-1, :-1]
    right = ~inside[1:-1, 1:] & inside[1:-1, :-1]
    for flags, (from_x, from_y), (to_x, to_y) in (
        (top, (0, 0), (1, 0)),
        (right, (0, 0), (0, 1)),
        (bottom, (1, 0), (0, 0)),
        (left, (0, 1), (0, 0)),
    ):
        rows, columns = (axis.tolist() for axis in np.nonzero(flags))
        for y, x in zip(rows, columns, strict=True):
            following.setdefault((x + from_x, y + from_y), []).append((x + to_x, y + to_y))
    return following


def _walk(following: dict[Point, list[Point]], start: Point) -> NDArray[np.int64]:
    """Take one closed outline out of `following`."""
    corners: list[Point] = []
    here, direction = start, (0, 0)
    while True:
        there = _step(following, here, direction)
        turned = (there[0] - here[0], there[1] - here[1])
        if turned != direction:
            corners.append(here)
        here, direction = there, turned
        if here == start and _closes(following, here, direction):
            break
    if len(corners) > 1 and _between(corners[-1], corners[0], corners[1]):
        del corners[0]
    return np.array(corners)


def _step(following: dict[Point, list[Point]], here: Point, direction: Point) -> Point:
    """Return the next corner; where two pixels touch, the one to the left, which goes on with the other pixel."""
    ways = following[here]
    left = (here[0] + direction[1], here[1] - direction[0])
    there = left if left in ways else ways[0]
    ways.remove(there)
    if not ways:
        del following[here]
    return there


def _closes(following: dict[Point, list[Point]], here: Point, direction: Point) -> bool:
    """Return whether the outline is complete, back at its start, or only touches itself here."""
    left = (here[0] + direction[1], here[1] - direction[0])
    return left not in following.get(here, ())


def _between(before: Point, corner: Point, after: Point) -> bool:
    return before[0] == corner[0] == after[0] or before[1] == corner[1] == after[1]
