"""Label Studio predictions: brush masks in its own run lengths, or polygons."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from maskserve.errors import InvalidParameter
from maskserve.exports.common import one_result, outlines, row_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from maskserve.exports.common import Parts
    from maskserve.instances import Instance
    from maskserve.masks import Mask
    from maskserve.results import InstanceSegResult

Form = Literal["brush", "polygon"]
TYPES = {"brush": "brushlabels", "polygon": "polygonlabels"}
_CHANNELS = 4  # a brush mask is the four channels of an RGBA image, all with the mask's value
_LENGTH_BITS = (3, 4, 8, 16)  # a run has its length, less one, in the first of these that holds it
_LONGEST = 1 << _LENGTH_BITS[-1]
_VALUE_BITS = 8


def to_label_studio(
    result: InstanceSegResult,
    *,
    form: Form = "brush",
    from_name: str = "label",
    to_name: str = "image",
    parts: Parts = "join",
    tolerance: float = 0.0,
    labels: Mapping[str, str] | None = None,
    model_version: str | None = None,
) -> dict[str, Any]:
    """Return a Label Studio prediction: an entry for the `predictions` of a task.

    An instance whose mask is empty has no region. The score of the prediction is the mean of the instances' scores, and
    0 where there are none.

    Args:
        result: the image's result.
        form: "brush" for masks (a `BrushLabels` tag), "polygon" for outlines along the edges of pixels
            (`PolygonLabels`).
        from_name: the name of that tag in the labeling configuration.
        to_name: the name of the `Image` tag there.
        parts: of polygons: "join" for one with all parts and holes of an instance, connected by lines of no width;
            "split" for a polygon for each part, its holes filled; "largest" for the largest part alone.
        tolerance: how far polygons may be from the mask's edge, in pixels: fewer corners for people to move. Not with
            joined parts.
        labels: labels of the project by labels of the model; other instances are left out. None keeps all as they are.
        model_version: shown beside the prediction.

    Raises:
        InvalidParameter: there is no such form, this is no result, a tolerance makes no sense, or the image has more
            pixels than a brush mask can.
    """
    if form not in TYPES:
        raise InvalidParameter(f"no form {form!r} of regions: brush and polygon are known")
    instances = one_result(result).instances
    height, width = instances.image_size
    common = {"from_name": from_name, "to_name": to_name, "type": TYPES[form], "image_rotation": 0}
    common |= {"original_width": width, "original_height": height, "origin": "prediction"}
    kept = [one for one in instances if one.mask and (labels is None or one.label in labels)]
    regions = [
        {
            "id": uuid.uuid4().hex[:10],
            **common,
            "score": one.score,
            "value": {**value, TYPES[form]: [one.label if labels is None else labels[one.label]]},
        }
        for one in kept
        for value in _values(one, form, parts, tolerance)
    ]
    score = float(np.mean([one.score for one in kept])) if kept else 0.0
    prediction: dict[str, Any] = {"result": regions, "score": score}
    return prediction if model_version is None else {**prediction, "model_version": model_version}


def _values(instance: Instance, form: Form, parts: Parts, tolerance: float) -> Iterator[dict[str, Any]]:
    if form == "brush":
        yield {"format": "rle", "rle": brush_rle(instance.mask)}
        return
    height, width = instance.mask.size
    percent = 100 / np.array([width, height])
    for outline in outlines(instance.mask, parts, tolerance):
        yield {"points": (outline * percent).tolist(), "closed": True}


def brush_rle(mask: Mask) -> list[int]:
    """Return Label Studio's run lengths of a mask of a whole image, the bytes as integers.

    They hold an image of four channels, row by row. 32 bits say how many values there are, 5 how wide a value is (less
    one), four times 4 how wide the four kinds of lengths are (less one). Then each run of equal values has a bit 1, the
    kind of its length in two bits, the length less one, and the value.

    Raises:
        InvalidParameter: the image has more pixels than 32 bits can count channels of.
    """
    runs = row_runs(mask.decode()) * _CHANNELS
    total = int(runs.sum())
    if total >= 1 << 32:
        raise InvalidParameter(f"an image of {mask.size[1]}x{mask.size[0]} is too large for Label Studio's brush masks")
    values = np.where(np.arange(runs.size) & 1, 255, 0)
    lengths, values = _split(runs, values)
    kinds = np.searchsorted([1 << bits for bits in _LENGTH_BITS], lengths)
    widths = np.array(_LENGTH_BITS)[kinds]
    codes = ((4 + kinds) << widths | (lengths - 1)) << _VALUE_BITS | values
    head = [(total, 32), (_VALUE_BITS - 1, 5), *((bits - 1, 4) for bits in _LENGTH_BITS)]
    codes = np.concatenate(([code for code, _ in head], codes))
    return _packed(codes, np.concatenate(([bits for _, bits in head], 3 + widths + _VALUE_BITS)))


def _split(runs: NDArray[np.int64], values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return runs of a length that can be written, and their values: longer ones in pieces, empty ones not at all."""
    pieces = -(-runs // _LONGEST)
    lengths = np.full(int(pieces.sum()), _LONGEST)
    kept = runs > 0
    lengths[np.cumsum(pieces)[kept] - 1] = runs[kept] - (pieces[kept] - 1) * _LONGEST
    return lengths, np.repeat(values, pieces)


def _packed(codes: NDArray[np.int64], widths: NDArray[np.int64]) -> list[int]:
    """Return integers of so many bits each, one behind the other, as bytes."""
    ends = np.cumsum(widths)
    bits = np.zeros(int(ends[-1]), np.uint8)
    for place in range(int(widths.max())):  # from the lowest bit on
        there = widths > place
        bits[ends[there] - 1 - place] = (codes[there] >> place) & 1
    packed: list[int] = np.packbits(bits).tolist()
    return packed
