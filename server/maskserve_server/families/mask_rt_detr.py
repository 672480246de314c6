"""Mask-RT-DETR: a fixed number of sorted candidates, each with mask logits at a quarter of the input's resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maskserve_server.families.base import Detections, Outputs, Runs, Selection, Size
from maskserve_server.painting.once import paint_once
from maskserve_server.painting.windows import Floats, Window

DETECTIONS = "detections"  # float32 [B, N, 6]: class, score, x0, y0, x1, y1 in pixels of the original image
MASK_LOGITS = "mask_logits"  # float32 [B, N, h, w]


@dataclass(frozen=True, slots=True)
class MaskRTDETR:
    """Paints by resizing a candidate's logits to the image.

    Args:
        mask_threshold: the probability above which a pixel belongs to the instance.
    """

    name: ClassVar[str] = "mask_rt_detr"
    outputs: ClassVar[tuple[str, ...]] = (DETECTIONS, MASK_LOGITS)
    batched: ClassVar[bool] = True

    mask_threshold: float = 0.5

    def detect(self, outputs: Outputs, scale_factor: Floats, selection: Selection) -> Detections:
        """See `Family.detect`; the boxes come in pixels of the original image already."""
        rows, logits = outputs[DETECTIONS][0], outputs[MASK_LOGITS][0]
        kept = np.flatnonzero(selection.keeps(rows[:, 1], rows[:, 0]))
        # The sigmoid is monotonic, so its threshold is moved to the logits.
        threshold = math.log(self.mask_threshold / (1 - self.mask_threshold))

        def paint(indices: Sequence[int], size: Size, windows: list[Window]) -> list[Runs]:
            return paint_once(logits, kept[indices].tolist(), size, windows, threshold)

        return Detections(rows[kept, 2:6], rows[kept, 1], rows[kept, 0].astype(np.int32), paint)
