"""PP-YOLOE_seg: dense candidates, and masks as weighted sums of prototypes.

The cut is in front of the NMS, so that every output has a fixed shape and the core can batch. Thresholding first
changes nothing in the result: a candidate is only ever suppressed by one with a higher score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maskserve_server.families.base import PREPARED_SIZE, Detections, Outputs, Runs, Selection, Size
from maskserve_server.nms import Indices, suppress_by_class
from maskserve_server.painting.groups import Steps
from maskserve_server.painting.sums import SumPart
from maskserve_server.painting.twice import Part, paint_twice
from maskserve_server.painting.windows import Floats, Window

BOXES = "boxes"  # float32 [B, A, 4]: x0, y0, x1, y1 in pixels of the network's input
SCORES = "scores"  # float32 [B, classes, A]
COEFFICIENTS = "coefficients"  # float32 [B, K, A]
PROTOTYPES = "prototypes"  # float32 [B, K, h, w]


@dataclass(frozen=True, slots=True)
class PPYOLOESeg:
    """Suppresses duplicates, then paints by summing prototypes.

    Args:
        input_size: height and width of the network's input; -1 where the program takes any, which is then as large as
            the prepared image of the request.
        score_threshold: the model's own floor.
        nms_threshold: intersection over union above which the lower score goes.
        nms_top_k: how many candidates of a class enter the NMS.
        keep_top_k: how many instances are kept at most.
        background_label: a class that is no class; -1 for none.
        normalized: how the NMS measures a side, see `suppress`.
        mask_threshold: the value above which a pixel belongs to the instance.
    """

    name: ClassVar[str] = "pp_yoloe_seg"
    outputs: ClassVar[tuple[str, ...]] = (BOXES, SCORES, COEFFICIENTS, PROTOTYPES)
    batched: ClassVar[bool] = True

    input_size: tuple[int, int]
    score_threshold: float
    nms_threshold: float
    nms_top_k: int
    keep_top_k: int
    background_label: int
    normalized: bool
    mask_threshold: float = 0.5

    def detect(self, outputs: Outputs, scale_factor: Floats, selection: Selection) -> Detections:
        """See `Family.detect`."""
        boxes, scores = outputs[BOXES][0], outputs[SCORES][0]
        labels, anchors = self._survivors(boxes, scores, selection)
        weights = np.ascontiguousarray(outputs[COEFFICIENTS][0][:, anchors].T, np.float32)
        prototypes = np.ascontiguousarray(outputs[PROTOTYPES][0], np.float32)

        def paint(indices: Sequence[int], size: Size, windows: list[Window]) -> list[Runs]:
            canvas = self._input_size(outputs, size, scale_factor)
            image = _unscaled(canvas, scale_factor)
            rows, columns = (
                Steps(*lengths) for lengths in zip(prototypes.shape[1:], canvas, canvas, image, strict=True)
            )
            crops = _crops(boxes[anchors[indices]], canvas)
            parts = [_part(weights[i], prototypes, crop, canvas) for i, crop in zip(indices, crops, strict=True)]
            return paint_twice(parts, rows, columns, windows, self.mask_threshold)

        scaled = boxes[anchors] / np.tile(scale_factor[::-1], 2)
        return Detections(scaled, scores[labels, anchors], labels.astype(np.int32), paint)

    def _input_size(self, outputs: Outputs, size: Size, scale_factor: Floats) -> Size:
        """Return height and width of the image that the network read, padding included."""
        if min(self.input_size) > 0:
            return self.input_size
        prepared = outputs.get(PREPARED_SIZE)
        height, width = np.rint(np.multiply(size, scale_factor)) if prepared is None else prepared.tolist()
        return int(height), int(width)

    def _survivors(self, boxes: Floats, scores: Floats, selection: Selection) -> tuple[Indices, Indices]:
        """Return classes and anchors of the instances left by the NMS: class by class, each by falling score."""
        floor = Selection(max(selection.threshold, self.score_threshold), selection.class_ids)
        classes, anchors = np.divmod(np.flatnonzero(scores > floor.threshold), scores.shape[1])
        wanted = floor.keeps(scores[classes, anchors], classes) & (classes != self.background_label)
        classes, anchors = classes[wanted], anchors[wanted]
        kept = suppress_by_class(
            boxes[anchors],
            scores[classes, anchors],
            classes,
            self.nms_threshold,
            most=self.nms_top_k,
            normalized=self.normalized,
        )
        classes, anchors = classes[kept], anchors[kept]
        return self._best(classes, anchors, scores[classes, anchors])

    def _best(self, labels: Indices, anchors: Indices, scores: Floats) -> tuple[Indices, Indices]:
        if -1 < self.keep_top_k < len(anchors):
            best = np.sort(np.argsort(-scores, kind="stable")[: self.keep_top_k])
            labels, anchors = labels[best], anchors[best]
        return labels, anchors


def _crops(boxes: Floats, size: Size) -> list[Window]:
    """Return the pixels x of boxes with x0 <= x < x1, as the program has it, in an image of that size."""
    height, width = size
    corners = np.clip(np.ceil(boxes), 0, [width, height, width, height]).astype(int)
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in corners.tolist()]


def _part(weights: Floats, prototypes: Floats, crop: Window, size: Size) -> Part | SumPart:
    """Return the probabilities that the cropped pixels of a mask depend on, from the prototypes that they need."""
    x0, y0, x1, y1 = crop
    if x1 <= x0 or y1 <= y0:
        return Part(np.zeros((1, 1), np.float32), 0, 0, (0, 0, 0, 0))
    columns, rows = _cells(x0, x1, prototypes.shape[2], size[1]), _cells(y0, y1, prototypes.shape[1], size[0])
    return SumPart(prototypes[:, rows, columns], weights, columns.start, rows.start, crop)


def _unscaled(canvas: Size, scale_factor: Floats) -> Size:
    """Return the size of the original image with the padding that the canvas has, as the program rounds it."""
    height, width = np.rint(np.array(canvas, np.float32) / scale_factor).astype(int).tolist()
    return height, width


def _cells(start: int, stop: int, cells: int, pixels: int) -> slice:
    """Return the cells that the pixels from start to stop are interpolated from, and one to each side."""
    return slice(max(start * cells // pixels - 1, 0), min(-(-stop * cells // pixels) + 1, cells))
