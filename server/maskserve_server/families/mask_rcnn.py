"""Mask R-CNN and Cascade Mask R-CNN: final boxes, each with a few probabilities that are stretched over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maskserve_server.families.base import Detections, Outputs, Runs, Selection, Size
from maskserve_server.painting.pasted import paste
from maskserve_server.painting.windows import Floats, Window

DETECTIONS = "detections"  # float32 [N, 6]: class (-1 for no instance), score, x0, y0, x1, y1 in original pixels
MASKS = "masks"  # float32 [N, h, w]: probabilities inside the box


@dataclass(frozen=True, slots=True)
class MaskRCNN:
    """Paints by sampling an instance's probabilities at the image's pixels.

    Args:
        mask_threshold: the probability from which on a pixel belongs to the instance.
    """

    name: ClassVar[str] = "mask_rcnn"
    outputs: ClassVar[tuple[str, ...]] = (DETECTIONS, MASKS)
    batched: ClassVar[bool] = False

    mask_threshold: float = 0.5

    def detect(self, outputs: Outputs, scale_factor: Floats, selection: Selection) -> Detections:
        """See `Family.detect`; boxes come clipped to the original image, and without a batch dimension."""
        rows, masks = outputs[DETECTIONS], outputs[MASKS]
        kept = np.flatnonzero(selection.keeps(rows[:, 1], rows[:, 0]))
        boxes = rows[kept, 2:6]

        def paint(indices: Sequence[int], _: Size, windows: list[Window]) -> list[Runs]:
            return paste(masks[kept[indices]], boxes[indices], windows, self.mask_threshold)

        return Detections(boxes, rows[kept, 1], rows[kept, 0].astype(np.int32), paint)
