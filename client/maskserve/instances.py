"""The instances found in one picture, as columns and one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from maskserve.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from maskserve.masks import Mask

Order = Literal["score", "area", "label", "x", "y"]


@dataclass(frozen=True, slots=True)
class Instance:
    """One object.

    Attributes:
        class_id: class index.
        label: class name.
        score: confidence.
        box: x0, y0, x1, y1 in pixels, inside the picture.
        mask: its pixels.
    """

    class_id: int
    label: str
    score: float
    box: tuple[float, float, float, float]
    mask: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Instances(Sequence[Instance]):
    """What was found in one picture, in the model's order.

    Attributes:
        boxes_xyxy: [N, 4] float32, x0, y0, x1, y1 in pixels, clipped to the picture.
        scores: [N] float32.
        class_ids: [N] int32.
        labels: N class names.
        masks: N masks.
        image_size: height and width of the picture.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    labels: tuple[str, ...]
    masks: tuple[Mask, ...]
    image_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.masks)

    @overload
    def __getitem__(self, index: int) -> Instance: ...
    @overload
    def __getitem__(self, index: slice) -> Instances: ...
    def __getitem__(self, index: int | slice) -> Instance | Instances:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        x0, y0, x1, y1 = self.boxes_xyxy[index].tolist()
        return Instance(
            class_id=int(self.class_ids[index]),
            label=self.labels[index],
            score=float(self.scores[index]),
            box=(x0, y0, x1, y1),
            mask=self.masks[index],
        )

    def take(self, indices: Iterable[int]) -> Instances:
        """The instances at `indices`, in that order."""
        order = list(indices)
        return Instances(
            boxes_xyxy=self.boxes_xyxy[order],
            scores=self.scores[order],
            class_ids=self.class_ids[order],
            labels=tuple(self.labels[i] for i in order),
            masks=tuple(self.masks[i] for i in order),
            image_size=self.image_size,
        )

    def filter(
        self,
        *,
        threshold: float | None = None,
        class_ids: Iterable[int] | None = None,
        labels: Iterable[str] | None = None,
        min_area: int = 0,
    ) -> Instances:
        """Those that score higher than `threshold`, are of one of the classes, and have `min_area` mask pixels."""
        keep = np.ones(len(self), bool)
        if threshold is not None:
            keep &= self.scores > np.float32(threshold)
        if class_ids is not None:
            keep &= np.isin(self.class_ids, list(class_ids))
        if labels is not None:
            wanted = frozenset(labels)
            keep &= np.array([label in wanted for label in self.labels], bool)
        if min_area > 0:
            keep &= np.array([mask.area >= min_area for mask in self.masks], bool)
        return self.take(np.flatnonzero(keep).tolist())

    def sort(self, by: Order = "score") -> Instances:
        """In another order: best score or largest mask first, by class name, from the left, or from the top.

        Instances that are equal in this keep their order.

        Raises:
            InvalidParameter: `by` is none of these.
        """
        match by:
            case "score":
                keys = (-self.scores).tolist()
            case "area":
                keys = [-mask.area for mask in self.masks]
            case "label":
                keys = list(self.labels)
            case "x" | "y":
                keys = self.boxes_xyxy[:, "xy".index(by)].tolist()
            case _:
                raise InvalidParameter(f"cannot sort by {by!r}: score, area, label, x and y are possible")
        return self.take(sorted(range(len(self)), key=keys.__getitem__))
