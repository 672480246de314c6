"""SOLOv2: candidates by grid cells, masks as kernels times features, Matrix NMS, no boxes.

The core does all of that and gives the best instances' masks at a quarter of the input's resolution. A box, which
the model does not have, is the extent of the painted mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maskserve_server.families.base import Detections, Outputs, Runs, Selection, Size
from maskserve_server.painting.groups import Steps
from maskserve_server.painting.twice import Part, paint_twice
from maskserve_server.painting.windows import Floats, Window, extent

SCORES = "scores"  # float32 [1, M], falling; 0 for what is not an instance
LABELS = "labels"  # int32 [1, M]
MASKS = "masks"  # float32 [1, M, h, w], probabilities


@dataclass(frozen=True, slots=True)
class SOLOv2:
    """Paints by enlarging a mask to the network's input, cropping the padding, and resizing the rest to the image.

    The program takes the image's size to be the input's over the *vertical* scale factor, which makes masks of some
    images a column too wide; here they have the image's size.

    Args:
        upsampling: by how much a mask is enlarged.
        mask_threshold: the probability above which a pixel belongs to the instance.
    """

    name: ClassVar[str] = "solov2"
    outputs: ClassVar[tuple[str, ...]] = (SCORES, LABELS, MASKS)
    batched: ClassVar[bool] = True

    upsampling: int
    mask_threshold: float = 0.5

    def detect(self, outputs: Outputs, scale_factor: Floats, selection: Selection) -> Detections:
        """See `Family.detect`."""
        scores, labels, masks = (outputs[name][0] for name in self.outputs)
        # For this family PaddleX also keeps what is equal to the threshold.
        wanted = selection.keeps(np.nextafter(scores, np.float32(np.inf)), labels)
        kept = np.flatnonzero(wanted & (scores > 0))

        extents = [extent(masks[index] > self.mask_threshold) for index in kept.tolist()]

        def bound(size: Size) -> list[Window]:
            return [self._bound(found, masks.shape[1:], size, scale_factor) for found in extents]

        def paint(indices: Sequence[int], size: Size, windows: list[Window]) -> list[Runs]:
            visible = self._visible(masks.shape[1:], size, scale_factor)
            rows, columns = (
                Steps(samples, self.upsampling * samples, *lengths)
                for samples, *lengths in zip(masks.shape[1:], visible, size, strict=True)
            )
            parts = [_part(masks[kept[index]], extents[index], visible) for index in indices]
            return paint_twice(parts, rows, columns, windows, self.mask_threshold)

        return Detections(bound, scores[kept], labels[kept].astype(np.int32), paint)

    def _visible(self, shape: tuple[int, ...], size: Size, scale_factor: Floats) -> Size:
        """Return height and width of the enlarged mask without the padding."""
        height, width = np.rint(np.multiply(size, scale_factor)).astype(int).tolist()
        return min(height, self.upsampling * shape[0]), min(width, self.upsampling * shape[1])

    def _bound(self, found: Window, shape: tuple[int, ...], size: Size, scale_factor: Floats) -> Window:
        """Return a window that holds the mask: interpolation reaches less than one pixel of either grid."""
        x0, y0, x1, y1 = (self.upsampling * side for side in _dilate(found, 1, shape))
        height, width = self._visible(shape, size, scale_factor)
        spans = (_stretch(x0, x1, size[1] / width, size[1]), _stretch(y0, y1, size[0] / height, size[0]))
        (left, right), (top, bottom) = spans
        return left, top, right, bottom


def _part(mask: Floats, found: Window, visible: Size) -> Part:
    """Return what painted pixels depend on: a pixel lies between three samples of a row and three of a column."""
    x0, y0, x1, y1 = _dilate(found, 2, mask.shape)
    return Part(mask[y0:y1, x0:x1], x0, y0, (0, 0, visible[1], visible[0]))


def _dilate(window: Window, by: int, limits: tuple[int, ...]) -> Window:
    x0, y0, x1, y1 = window
    return max(x0 - by, 0), max(y0 - by, 0), min(x1 + by, limits[1]), min(y1 + by, limits[0])


def _stretch(start: int, stop: int, by: float, limit: int) -> tuple[int, int]:
    """Return a span of one grid in pixels of another, with a pixel of each to spare."""
    low, high = math.floor((start - 1) * by) - 1, math.ceil((stop + 1) * by) + 1
    return min(max(low, 0), limit), min(max(high, 0), limit)
