"""Results for exports: of a server's answer, of masks, and of an image that failed."""

import numpy as np

from maskserve import Failure, InvalidImage
from maskserve.inputs.image import InputImage
from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve.results import InstanceSegResult

SIZE = (60, 100)
FOUND = [(0, 0.75, (10.25, 20.0, 50.25, 40.0)), (2, 0.5, (-3.0, 50.0, 8.0, 70.0))]


def named(path, masks=None, page=None, label="person"):
    """A result with these masks, or one of a rectangle, for a path that is not read."""
    masks = [np.pad(np.ones((2, 3), bool), 1)] if masks is None else masks
    height, width = masks[0].shape if masks else (4, 5)
    found = [Mask.encode(mask) for mask in masks]
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in (mask.bbox for mask in found)], "f4").reshape(-1, 4)
    count = len(found)
    instances = Instances(
        boxes, np.full(count, 0.5, "f4"), np.zeros(count, "i4"), (label,) * count, tuple(found), (height, width)
    )
    input_image = InputImage(lambda: np.full((height, width, 3), (10, 20, 30), np.uint8), path, page)
    return InstanceSegResult(input_image, instances)


FAILED = Failure("bad.jpg", InvalidImage("bad.jpg: not an image"))
