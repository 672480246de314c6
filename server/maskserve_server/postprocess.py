"""From the tensors at the cut to the answer: threshold, clip, the survivors' run lengths inside their boxes, encode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskserve.errors import InvalidParameter, listed
from maskserve_server.families import Family, Outputs, Selection
from maskserve_server.families.base import Bound, Detections
from maskserve_server.painting.runs import encode_runs, tightened
from maskserve_server.painting.windows import Floats, Window, area, crop_windows

_NAMED = 10  # class ids, in a message


@dataclass(frozen=True, slots=True)
class Instances:
    """The answer for one image, in columns: see `maskserve.contract`."""

    boxes: Floats
    scores: Floats
    labels: npt.NDArray[np.int32]
    masks: tuple[bytes, ...]
    mask_boxes: npt.NDArray[np.int32]
    size: tuple[int, int]


def selection(
    threshold: float | None, class_ids: Sequence[int] | None, *, default: float, classes: int | None
) -> Selection:
    """Return what a request asks for.

    Args:
        threshold: the request's, or None.
        class_ids: the request's, or None for all.
        default: the threshold where the request names none.
        classes: how many classes the model has; None where that is not known, and every id from 0 is taken.

    Raises:
        InvalidParameter: a threshold that is not between 0 and 1, or a class that the model does not have.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise InvalidParameter(f"threshold={threshold:g} is not a finite number between 0 and 1")
    asked = () if class_ids is None else class_ids
    unknown = sorted({int(c) for c in asked if c < 0 or (classes is not None and c >= classes)})
    if unknown:
        has = "class ids begin at 0" if classes is None else f"the model has {_range(classes)}"
        raise InvalidParameter(f"class ids [{listed(unknown, _NAMED)}] do not exist; {has}")
    wanted = None if class_ids is None else frozenset(int(c) for c in class_ids)
    return Selection(default if threshold is None else float(threshold), wanted)


def _range(classes: int) -> str:
    return "only 0" if classes == 1 else f"0 to {classes - 1}"


def postprocess(
    family: Family, outputs: Outputs, scale_factor: Floats, size: tuple[int, int], wanted: Selection
) -> Instances:
    """Detect, clip to the image, paint and encode.

    A box without an area inside the image is dropped together with its mask (PaddleX 3.x drops the box alone, so that
    every later instance gets its neighbour's mask).

    Args:
        family: the model's family.
        outputs: the core's answer for one image.
        scale_factor: float32 [2], network input over original image, for height and width.
        size: height and width of the original image.
        wanted: which instances are wanted.
    """
    detections = family.detect(outputs, scale_factor, wanted)
    if callable(detections.boxes):
        kept, boxes, windows, masks = _outlined(detections, detections.boxes, size)
    else:
        kept, boxes, windows, masks = _boxed(detections, detections.boxes, size)
    corners = np.array(windows, np.int32).reshape(-1, 4)
    corners[:, 2:] -= corners[:, :2]
    return Instances(
        boxes=np.ascontiguousarray(boxes),
        scores=np.ascontiguousarray(detections.scores[kept]),
        labels=np.ascontiguousarray(detections.labels[kept]),
        masks=tuple(masks),
        mask_boxes=corners,
        size=size,
    )


_Painted = tuple[npt.NDArray[np.intp], Floats, list[Window], list[bytes]]  # indices, boxes, windows, encoded masks


def _boxed(detections: Detections, boxes: Floats, size: tuple[int, int]) -> _Painted:
    height, width = size
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    kept = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    windows = crop_windows(boxes[kept], size)
    runs = detections.paint(kept.tolist(), size, windows)
    return kept, boxes[kept], windows, encode_runs(runs, windows)


def _outlined(detections: Detections, bound: Bound, size: tuple[int, int]) -> _Painted:
    """Return instances of a model without boxes: a box is the extent of its mask; one without a pixel is dropped."""
    windows = bound(size)
    runs = detections.paint(range(len(windows)), size, windows)
    tight = [tightened(*pair) for pair in zip(runs, windows, strict=True)]
    kept = [index for index, (window, _) in enumerate(tight) if area(window)]
    windows = [tight[index][0] for index in kept]
    masks = encode_runs([tight[index][1] for index in kept], windows)
    return np.array(kept, np.intp), np.array(windows, np.float32).reshape(-1, 4), windows, masks
