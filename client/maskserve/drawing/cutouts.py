"""Instances cut out of their image: their own pixels, on a transparent ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from maskserve.drawing.draw import check_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from maskserve.instances import Instances


def cutouts(bgr: NDArray[np.uint8], instances: Instances) -> Iterator[tuple[int, str, NDArray[np.uint8]]]:
    """Yield each instance that has pixels: its position, its class name, and [h, w, 4] uint8, red first.

    The cut-out is as large as the smallest window that holds the mask.

    Raises:
        InvalidImage: the image has another size than the one that was segmented.
    """
    check_size(bgr, instances)
    for position, mask in enumerate(instances.masks):
        x, y, width, height = mask.bbox
        if not width:
            continue
        left, top = x - mask.box[0], y - mask.box[1]
        inside = mask.crop()[top : top + height, left : left + width]
        rgba = np.zeros((height, width, 4), np.uint8)
        rgba[:, :, :3] = bgr[y : y + height, x : x + width, ::-1]
        rgba *= inside[:, :, None]  # nothing of what is beside it, not even under a transparent pixel
        rgba[:, :, 3] = inside * np.uint8(255)
        yield position, instances.labels[position], rgba
