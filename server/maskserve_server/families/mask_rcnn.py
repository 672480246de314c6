"""Mask R-CNN and Cascade Mask R-CNN: final boxes, each with a few probabilities that are stretched over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from maskserve_server.families.base import Detections, Outputs, Selection
from maskserve_server.windows import Floats, Window

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

        def paint(index: int, size: tuple[int, int], window: Window) -> npt.NDArray[np.uint8]:
            values = _stretch(masks[kept[index]], boxes[index], window)
            return (values >= self.mask_threshold).view(np.uint8).T

        return Detections(boxes, rows[kept, 1], rows[kept, 0].astype(np.int32), paint)


def _stretch(mask: Floats, box: Floats, window: Window) -> Floats:
    """A mask stretched over its box, at the pixels of a window; zero outside the box.

    What Paddle's `grid_sample` (bilinear, zeros outside, align_corners False) makes of the pixels' positions in the
    box. Bilinear interpolation is a product of one matrix for the rows and one for the columns.

    Returns:
        float32 [x1 - x0, y1 - y0]: transposed, so that the result lies in memory as run-length encoding reads it.
    """
    x0, y0, x1, y1 = window
    rows = _weights(y0, y1, box[1], box[3], mask.shape[0])
    columns = _weights(x0, x1, box[0], box[2], mask.shape[1])
    return np.asarray((columns @ mask.T) @ rows.T)


def _weights(start: int, stop: int, low: np.float32, high: np.float32, cells: int) -> Floats:
    """How much each of `cells` between `low` and `high` counts at the centres of the pixels from `start` to `stop`."""
    inside = (np.arange(start, stop, dtype=np.float32) + np.float32(0.5) - low) / (high - low)
    position = inside * np.float32(cells) - np.float32(0.5)
    first = np.floor(position)
    # A cell more on each side takes what belongs to the zeros outside.
    weights = np.zeros((stop - start, cells + 2), np.float32)
    index, pixel = np.clip(first.astype(np.intp) + 1, 0, cells), np.arange(stop - start)
    weights[pixel, index] = 1 - (position - first)
    weights[pixel, index + 1] = position - first
    return weights[:, 1:-1]
