"""The masks and boxes of annotations, checked before pycocotools' C code reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from maskserve.rle import parse_counts

Size = tuple[int, int]  # height, width


class BrokenAnnotation(ValueError):
    """Report what is wrong with an annotation, as the end of a sentence about it."""


def run_lengths(segmentation: Any, size: Size) -> dict[str, Any]:
    """Return a mask as pycocotools' compressed run lengths.

    Args:
        segmentation: polygons, or run lengths, compressed or not.
        size: of the image.

    Raises:
        BrokenAnnotation: it is none of these, or of another size.
    """
    from pycocotools import mask

    if isinstance(segmentation, Mapping):
        code: dict[str, Any] = _encoded(segmentation, size)
        return code
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str):
        raise BrokenAnnotation("has a segmentation that is neither polygons nor run lengths")
    for polygon in segmentation:
        if not isinstance(polygon, Sequence) or len(polygon) < 6 or len(polygon) % 2 or not _are_numbers(polygon):
            raise BrokenAnnotation("has a polygon that is not a list of three or more x, y pairs")
        if max(map(abs, polygon)) > 2 * max(size):  # pycocotools would walk along all of such an edge
            raise BrokenAnnotation(f"has a polygon far outside of its image of {size[0]} x {size[1]} (height, width)")
    merged: dict[str, Any] = mask.merge(mask.frPyObjects([list(map(float, one)) for one in segmentation], *size))
    return merged


def _encoded(code: Mapping[str, Any], size: Size) -> dict[str, Any]:
    from pycocotools import mask

    counts, of = code.get("counts"), code.get("size")
    if not isinstance(of, Sequence) or tuple(of) != size:
        raise BrokenAnnotation(f"has run lengths of the size {of}, its image is {size[0]} x {size[1]} (height, width)")
    compressed = isinstance(counts, str | bytes)
    try:
        runs = parse_counts(_as_bytes(counts)).tolist() if compressed else list(counts or ())
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise BrokenAnnotation(f"has run lengths that cannot be read ({error})") from error
    runs = [as_whole(run) for run in runs]
    if not all(run is not None and run >= 0 for run in runs) or sum(runs) != math.prod(size):
        raise BrokenAnnotation(f"has run lengths that do not fill its image of {size[0]} x {size[1]} (height, width)")
    if compressed:
        return {"size": list(size), "counts": _as_bytes(counts)}
    found: dict[str, Any] = mask.frPyObjects({"size": list(size), "counts": runs}, *size)
    return found


def box_of(box: Any) -> list[float]:
    """Return a box [x, y, width, height] in pixels.

    Raises:
        BrokenAnnotation: it is none.
    """
    if not isinstance(box, Sequence) or len(box) != 4 or not _are_numbers(box) or min(box[2:]) < 0:
        raise BrokenAnnotation("has a bbox that is not x, y, width, height")
    return [float(side) for side in box]


def as_whole(value: Any) -> int | None:
    """Return a whole number, which some programs write as 640.0; None for what is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def flag(value: Any, name: str) -> int:
    """Return 0 or 1.

    Raises:
        BrokenAnnotation: it is neither, such as the text "0", which Python takes for true.
    """
    if value not in (None, 0, 1):
        raise BrokenAnnotation(f"has an {name} of {value!r}, which is neither 0 nor 1")
    return int(value or 0)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)


def _as_bytes(counts: str | bytes | Any) -> bytes:
    return counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
