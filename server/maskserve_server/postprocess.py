"""From the tensors at the cut to the answer: threshold, clip, paint the survivors inside their boxes, encode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskserve.errors import InvalidParameter
from maskserve.masks import encode_crop
from maskserve_server.families import Family, Outputs, Selection
from maskserve_server.families.base import Bound, Detections
from maskserve_server.windows import Floats, Window, crop_windows, extent


@dataclass(frozen=True, slots=True)
class Instances:
    """The answer for one image, in columns: see `maskserve.contract`."""

    boxes: Floats
    scores: Floats
    labels: npt.NDArray[np.int32]
    masks: tuple[bytes, ...]
    mask_boxes: npt.NDArray[np.int32]
    size: tuple[int, int]


def selection(threshold: float | None, class_ids: Sequence[int] | None, *, default: float, classes: int) -> Selection:
    """What a request asks for.

    Args:
        threshold: the request's, or None.
        class_ids: the request's, or None for all.
        default: the threshold where the request names none.
        classes: how many classes the model has.

    Raises:
        InvalidParameter: a threshold that is not a number, or a class that the model does not have.
    """
    if threshold is not None and not np.isfinite(threshold):
        raise InvalidParameter(f"threshold must be a finite number, not {threshold}")
    unknown = sorted({int(c) for c in class_ids or () if not 0 <= c < classes})
    if unknown:
        raise InvalidParameter(f"class ids {unknown} do not exist; the model has 0 to {classes - 1}")
    wanted = None if class_ids is None else frozenset(int(c) for c in class_ids)
    return Selection(default if threshold is None else float(threshold), wanted)


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
    masks = [encode_crop(detections.paint(index, size, w)) for index, w in zip(kept.tolist(), windows, strict=True)]
    return kept, boxes[kept], windows, masks


def _outlined(detections: Detections, bound: Bound, size: tuple[int, int]) -> _Painted:
    """Instances of a model without boxes: each one's box is the extent of its mask; one without a pixel is dropped."""
    kept: list[int] = []
    windows: list[Window] = []
    masks: list[bytes] = []
    for index in range(len(detections.scores)):
        x, y, *_ = window = bound(index, size)
        mask = detections.paint(index, size, window)
        x0, y0, x1, y1 = extent(mask)
        if x1 > x0:
            kept.append(index)
            windows.append((x + x0, y + y0, x + x1, y + y1))
            masks.append(encode_crop(mask[y0:y1, x0:x1]))
    return np.array(kept, np.intp), np.array(windows, np.float32).reshape(-1, 4), windows, masks
