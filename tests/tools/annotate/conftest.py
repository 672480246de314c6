"""A pipeline whose answers are known: the same two instances in every image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from maskserve.errors import InvalidImage, MaskserveError
from maskserve.inputs.image import InputImage
from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve.results import Failure, InstanceSegResult

LABELS = ("person", "行人", "car")
SIZE = (40, 60)


def known_masks() -> npt.NDArray[np.bool_]:
    """A ring, and two blocks at the borders of the image."""
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 5:25, 10:30] = True
    masks[0, 10:15, 15:25] = False
    masks[1, :10, :12] = masks[1, 30:, 50:] = True
    return masks


def known_result(path: str | None = None) -> InstanceSegResult:
    """What the pipeline below answers."""
    masks = tuple(map(Mask.encode, known_masks()))
    boxes = np.array([(10, 5, 30, 25), (0, 0, 60, 40)], np.float32)
    scores = np.array([0.9, 0.6], np.float32)
    found = Instances(boxes, scores, np.arange(2, dtype=np.int32), LABELS[:2], masks, SIZE)
    return InstanceSegResult(InputImage(lambda: np.zeros((*SIZE, 3), np.uint8), path), found)


class KnownPipeline:
    """What the annotation tools call of a `Pipeline`."""

    model = "people"
    labels = LABELS

    def __init__(self) -> None:
        self.thresholds: list[float | None] = []
        self.images: list[Any] = []
        self.error: MaskserveError | None = None

    def segment(self, image: Any, *, threshold: float | None = None) -> InstanceSegResult:
        self.images.append(image)
        self.thresholds.append(threshold)
        return known_result()

    def predict(
        self, images: list[Any], *, threshold: float | None = None, on_error: str = "raise"
    ) -> Iterator[InstanceSegResult | Failure]:
        assert on_error == "return"
        self.thresholds.append(threshold)
        for image in images:
            if self.error:
                raise self.error
            self.images.append(image.read_bytes())
            damaged = self.images[-1] == b"damaged"
            yield Failure(str(image), InvalidImage("these bytes are no image")) if damaged else known_result(str(image))

    def __enter__(self) -> KnownPipeline:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def pipeline() -> KnownPipeline:
    return KnownPipeline()
