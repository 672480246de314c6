"""What every model family does after its network has run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from maskserve_server.painting.windows import Floats, Window

Outputs = Mapping[str, npt.NDArray[Any]]
# Beside the core's answer: height and width of the image that the core read, padding included; int32 [2].
PREPARED_SIZE = "prepared_size"


@dataclass(frozen=True, slots=True)
class Selection:
    """The instances that a request asks for.

    Attributes:
        threshold: keep higher scores only.
        class_ids: keep only these classes; None keeps all.
    """

    threshold: float
    class_ids: frozenset[int] | None = None

    def keeps(self, scores: Floats, labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return which rows of `scores` [N] and `labels` [N] are wanted; negative labels mark rows that are padding."""
        kept = (scores > self.threshold) & (labels >= 0)
        if self.class_ids is not None:
            kept &= np.isin(labels, list(self.class_ids))
        return np.asarray(kept)


Size = tuple[int, int]  # height and width
Runs = npt.NDArray[np.int64]
Painter = Callable[[Sequence[int], Size, list[Window]], list[Runs]]
Bound = Callable[[Size], list[Window]]


@dataclass(frozen=True, slots=True)
class Detections:
    """The instances that are kept, in the order in which the model lists them.

    Attributes:
        boxes: float32 [N, 4], x0, y0, x1, y1 in pixels of the original image; not clipped. For a model without boxes, a
            function that, given the image's (height, width), names a window for each instance that holds its mask: the
            box is then the extent of the mask.
        scores: float32 [N].
        labels: int32 [N].
        paint: given the indices of some instances, the image's (height, width) and a window of it for each of them,
            the masks' run lengths inside the windows: int64 [R] each, background first, column by column. Nothing is
            painted before it is called.
    """

    boxes: Floats | Bound
    scores: Floats
    labels: npt.NDArray[np.int32]
    paint: Painter


class Family(Protocol):
    """One architecture's way from the tensors at the cut to boxes and masks.

    Attributes:
        name: what `model.json` calls it.
        outputs: the names of the tensors at the cut.
        batched: whether these begin with a batch dimension, or list all images' detections one after another.
    """

    name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]
    batched: ClassVar[bool]

    def detect(self, outputs: Outputs, scale_factor: Floats, selection: Selection) -> Detections:
        """Return the wanted instances.

        Args:
            outputs: the core's answer for one image; where the family is batched, with a batch dimension of 1. And
                `PREPARED_SIZE`, without which an image counts as not padded.
            scale_factor: float32 [2], network input over original image, for height and width.
            selection: which ones are wanted.
        """
        ...
