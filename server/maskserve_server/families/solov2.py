"""SOLOv2: candidates by grid cells, masks as kernels times features, Matrix NMS, no boxes.

The core does all of that and gives the best instances' masks at a quarter of the input's resolution. A box, which
the model does not have, is the extent of the painted mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from maskserve_server.families.base import Detections, Outputs, Selection
from maskserve_server.windows import Floats, Window, extent, paint_window

SCORES = "scores"  # float32 [1, M], falling; 0 for what is not an instance
LABELS = "labels"  # int32 [1, M]
MASKS = "masks"  # float32 [1, M, h, w], probabilities

Size = tuple[int, int]


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

        def bound(index: int, size: Size) -> Window:
            return self._bound(masks[kept[index]], size, scale_factor)

        def paint(index: int, size: Size, window: Window) -> npt.NDArray[np.uint8]:
            mask = masks[kept[index]]
            canvas = self._canvas(mask, self._visible(mask, size, scale_factor))
            return paint_window(canvas, size, window, self.mask_threshold, exact=False)

        return Detections(bound, scores[kept], labels[kept].astype(np.int32), paint)

    def _visible(self, mask: Floats, size: Size, scale_factor: Floats) -> Size:
        """Height and width of the enlarged mask without the padding."""
        height, width = np.rint(np.multiply(size, scale_factor)).astype(int).tolist()
        return min(height, self.upsampling * mask.shape[0]), min(width, self.upsampling * mask.shape[1])

    def _bound(self, mask: Floats, size: Size, scale_factor: Floats) -> Window:
        """A window that holds the painted mask: interpolation reaches less than one pixel of either grid."""
        x0, y0, x1, y1 = (self.upsampling * side for side in _dilate(extent(mask > self.mask_threshold), 1, mask.shape))
        height, width = self._visible(mask, size, scale_factor)
        spans = (_stretch(x0, x1, size[1] / width, size[1]), _stretch(y0, y1, size[0] / height, size[0]))
        (left, right), (top, bottom) = spans
        return left, top, right, bottom

    def _canvas(self, mask: Floats, visible: Size) -> Floats:
        """The mask enlarged, as far as painted pixels depend on it, zero elsewhere; column-major, as painting is."""
        x0, y0, x1, y1 = _dilate(extent(mask > self.mask_threshold), 2, mask.shape)
        by = self.upsampling
        part = np.ascontiguousarray(mask[y0:y1, x0:x1].T)
        part = cv2.resize(part, (by * (y1 - y0), by * (x1 - x0)), interpolation=cv2.INTER_LINEAR)
        canvas = np.zeros(visible[::-1], np.float32)
        place = canvas[by * x0 : by * x1, by * y0 : by * y1]
        place[:] = part[: place.shape[0], : place.shape[1]]
        return canvas.T


def _dilate(window: Window, by: int, limits: tuple[int, ...]) -> Window:
    x0, y0, x1, y1 = window
    return max(x0 - by, 0), max(y0 - by, 0), min(x1 + by, limits[1]), min(y1 + by, limits[0])


def _stretch(start: int, stop: int, by: float, limit: int) -> tuple[int, int]:
    """A span of one grid in pixels of another, with a pixel of each to spare."""
    low, high = math.floor((start - 1) * by) - 1, math.ceil((stop + 1) * by) + 1
    return min(max(low, 0), limit), min(max(high, 0), limit)
