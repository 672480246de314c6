"""PP-YOLOE_seg: dense candidates, and masks as weighted sums of prototypes.

The cut is in front of the NMS, so that every output has a fixed shape and the core can batch. Thresholding first
changes nothing in the result: a candidate is only ever suppressed by one with a higher score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from maskserve_server.families.base import Detections, Outputs, Selection
from maskserve_server.nms import Indices, suppress
from maskserve_server.windows import Floats, Window, paint_window, resize_window

BOXES = "boxes"  # float32 [B, A, 4]: x0, y0, x1, y1 in pixels of the network's input
SCORES = "scores"  # float32 [B, classes, A]
COEFFICIENTS = "coefficients"  # float32 [B, K, A]
PROTOTYPES = "prototypes"  # float32 [B, K, h, w]


@dataclass(frozen=True, slots=True)
class PPYOLOESeg:
    """Suppresses duplicates, then paints by summing prototypes.

    Args:
        input_size: height and width of the network's input.
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
        weights = outputs[COEFFICIENTS][0][:, anchors].T
        prototypes = outputs[PROTOTYPES][0]

        def paint(index: int, size: tuple[int, int], window: Window) -> npt.NDArray[np.uint8]:
            mask = self._mask(weights[index], prototypes, boxes[anchors[index]])
            return paint_window(mask, size, window, self.mask_threshold)

        scaled = boxes[anchors] / np.tile(scale_factor[::-1], 2)
        return Detections(scaled, scores[labels, anchors], labels.astype(np.int32), paint)

    def _survivors(self, boxes: Floats, scores: Floats, selection: Selection) -> tuple[Indices, Indices]:
        """Classes and anchors of the instances left by the NMS: class by class, each by falling score."""
        floor = Selection(max(selection.threshold, self.score_threshold), selection.class_ids)
        classes, anchors = np.divmod(np.flatnonzero(scores > floor.threshold), scores.shape[1])
        wanted = floor.keeps(scores[classes, anchors], classes) & (classes != self.background_label)
        classes, anchors = classes[wanted], anchors[wanted]
        kept = [self._of_class(boxes, scores[c], anchors[classes == c]) for c in np.unique(classes)]
        labels = np.repeat(np.unique(classes), [len(k) for k in kept])
        survivors = np.concatenate([*kept, np.empty(0, np.intp)]).astype(np.intp)
        return self._best(labels, survivors, scores[labels, survivors])

    def _of_class(self, boxes: Floats, scores: Floats, anchors: Indices) -> Indices:
        if self.nms_top_k > -1:
            anchors = anchors[np.argsort(-scores[anchors], kind="stable")[: self.nms_top_k]]
        return anchors[suppress(boxes[anchors], scores[anchors], self.nms_threshold, normalized=self.normalized)]

    def _best(self, labels: Indices, anchors: Indices, scores: Floats) -> tuple[Indices, Indices]:
        if -1 < self.keep_top_k < len(anchors):
            best = np.sort(np.argsort(-scores, kind="stable")[: self.keep_top_k])
            labels, anchors = labels[best], anchors[best]
        return labels, anchors

    def _mask(self, weights: Floats, prototypes: Floats, box: Floats) -> Floats:
        """A mask at the input's resolution, zero outside its box: pixels x with x0 <= x < x1, as the program has it.

        Column-major, as painting is, and made of no more of the prototypes than the box's pixels depend on.
        """
        height, width = self.input_size
        x0, y0 = np.clip(np.ceil(box[:2]), 0, [width, height]).astype(int).tolist()
        x1, y1 = np.clip(np.ceil(box[2:]), 0, [width, height]).astype(int).tolist()
        result = np.zeros((width, height), np.float32)
        if x1 > x0 and y1 > y0:
            columns = _cells(x0, x1, prototypes.shape[2], width)
            rows = _cells(y0, y1, prototypes.shape[1], height)
            mask = np.zeros(prototypes.shape[:0:-1], np.float32)
            mask[columns, rows] = _sigmoid(np.tensordot(weights, prototypes[:, rows, columns], axes=1)).T
            result[x0:x1, y0:y1] = resize_window(mask, (width, height), (y0, x0, y1, x1))
        return result.T


def _cells(start: int, stop: int, cells: int, pixels: int) -> slice:
    """The cells that the pixels from start to stop are interpolated from: those around them, and one to each side."""
    return slice(max(start * cells // pixels - 1, 0), min(-(-stop * cells // pixels) + 1, cells))


def _sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), in the form that cannot overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)
