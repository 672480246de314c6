"""One closed outline for a mask of several parts and with holes, for formats that have one for each instance.

The outlines are joined by bridges of no width: lines that are passed once in either direction, so that neither the area
inside nor the pixels whose centres are inside change.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Outline = NDArray[np.int64]

Point = tuple[int, int]
Piece = tuple[int, int, int, tuple[Point, ...]]  # edge, place on the edge, the outline that hangs there, the way to it


def joined(outlines: list[Outline]) -> Outline:
    """Return one closed outline that holds exactly the pixels that the given ones hold.

    An outline's bridge goes left, from its leftmost corner to the next outline in that row of pixels: the bridge of a
    hole stays inside the foreground. Where there is nothing on the left, it goes to the nearest corner of those further
    left, round one corner: no bridge leaves the edges of pixels.

    Args:
        outlines: of one mask, as `outlines` in `_polygons` gives them; at least one.

    Returns:
        [N, 2] corners x, y.
    """
    ordered = sorted((_from_leftmost(outline) for outline in outlines), key=lambda outline: tuple(outline[0].tolist()))
    points: list[Point] = []
    for x, y in _walk([outline.tolist() for outline in ordered], _bridges(ordered)):
        if not points or points[-1] != (x, y):
            points.append((x, y))
    return np.array(points[:-1] if len(points) > 1 and points[-1] == points[0] else points)


def _from_leftmost(outline: Outline) -> Outline:
    """Return the outline from its leftmost corner on, the topmost of those."""
    return np.roll(outline, -int(np.lexsort((outline[:, 1], outline[:, 0]))[0]), axis=0)


def _bridges(ordered: list[Outline]) -> dict[int, list[Piece]]:
    """Return for each outline the others that hang on it; those further left come first in `ordered`."""
    rows = _upright_edges(ordered)
    corners = np.concatenate(ordered)
    starts = np.cumsum([0, *map(len, ordered)])
    hanging: dict[int, list[Piece]] = defaultdict(list)
    for number, outline in enumerate(ordered[1:], start=1):
        x, y = outline[0].tolist()
        edges = rows[y]
        place = bisect_left(edges, (x,))
        if place:
            left, host, edge = edges[place - 1]
            along = abs(y - int(ordered[host][edge, 1]))
            hanging[host].append((edge, along, number, ((left, y),)))
        else:
            before = corners[: starts[number]]
            nearest = int(np.argmin(((before - outline[0]) ** 2).sum(axis=1)))
            host = int(np.searchsorted(starts, nearest, side="right")) - 1
            there, level = before[nearest].tolist()
            hanging[host].append((nearest - int(starts[host]), 0, number, ((there, level), (there, y))))
    return {host: sorted(pieces) for host, pieces in hanging.items()}


def _upright_edges(ordered: list[Outline]) -> dict[int, list[tuple[int, int, int]]]:
    """Return for each row of pixels x, outline and edge of what passes it, from the left."""
    rows: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for number, outline in enumerate(ordered):
        following = np.roll(outline, -1, axis=0)
        upright = np.flatnonzero(outline[:, 0] == following[:, 0])
        for edge, x, one, other in zip(
            upright.tolist(),
            outline[upright, 0].tolist(),
            outline[upright, 1].tolist(),
            following[upright, 1].tolist(),
            strict=True,
        ):
            for row in range(min(one, other), max(one, other)):
                rows[row].append((x, number, edge))
    for edges in rows.values():
        edges.sort()
    return rows


def _walk(ordered: list[list[Point]], hanging: dict[int, list[Piece]]) -> Iterator[Point]:
    """Follow the first outline, and each other one where it hangs. Not recursive: thousands may hang in a chain."""
    under_way = [_steps(ordered[0], hanging.get(0, []))]
    while under_way:
        step = next(under_way[-1], None)
        if step is None:
            under_way.pop()
        elif isinstance(step, int):
            under_way.append(_steps([*ordered[step], ordered[step][0]], hanging.get(step, [])))
        else:
            yield step


def _steps(corners: list[Point], pieces: list[Piece]) -> Iterator[Point | int]:
    """Yield the corners of an outline, and between them the numbers of those that hang on it."""
    waiting = iter(pieces)
    piece = next(waiting, None)
    for edge, (x, y) in enumerate(corners):
        yield x, y
        while piece is not None and piece[0] == edge:
            yield from piece[3]
            yield piece[2]
            yield from reversed(piece[3])
            piece = next(waiting, None)
