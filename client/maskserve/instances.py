"""The instances found in one image, as columns and one by one."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from maskserve.arguments import (
    checked_area,
    checked_class_ids,
    checked_labels,
    checked_positions,
    checked_threshold,
)
from maskserve.errors import InvalidParameter

if TYPE_CHECKING:
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
        box: x0, y0, x1, y1 in pixels, inside the image.
        mask: its pixels.
    """

    class_id: int
    label: str
    score: float
    box: tuple[float, float, float, float]
    mask: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Instances(Sequence[Instance]):
    """What was found in one image, in the model's order.

    Attributes:
        boxes_xyxy: [N, 4] float32, x0, y0, x1, y1 in pixels, clipped to the image.
        scores: [N] float32.
        class_ids: [N] int32.
        labels: N class names.
        masks: N masks.
        image_size: height and width of the image.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    labels: tuple[str, ...]
    masks: tuple[Mask, ...]
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        # read-only, because a change here would not be seen in the dict of a result
        for name in ("boxes_xyxy", "scores", "class_ids"):
            column = getattr(self, name).view()
            column.flags.writeable = False
            object.__setattr__(self, name, column)

    def __reduce__(self) -> tuple[Any, ...]:
        return Instances, tuple(getattr(self, field.name) for field in fields(self))

    def __len__(self) -> int:
        return len(self.masks)

    @overload
    def __getitem__(self, index: int) -> Instance: ...
    @overload
    def __getitem__(self, index: slice | Iterable[int]) -> Instances: ...
    def __getitem__(self, index: int | slice | Iterable[int]) -> Instance | Instances:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        if isinstance(index, Iterable) and not (isinstance(index, np.ndarray) and index.ndim == 0):
            return self.take(index)
        position = operator.index(index)  # a TypeError, as of a list, for what is none
        x0, y0, x1, y1 = self.boxes_xyxy[position].tolist()
        return Instance(
            class_id=int(self.class_ids[position]),
            label=self.labels[position],
            score=float(self.scores[position]),
            box=(x0, y0, x1, y1),
            mask=self.masks[position],
        )

    def take(self, indices: int | Iterable[int]) -> Instances:
        """Return the instances at `indices`, in that order.

        Args:
            indices: one position, an iterable of them, or a bool for each instance.

        Raises:
            InvalidParameter: there is no such instance.
        """
        order = checked_positions(indices, len(self))
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
        class_ids: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        min_area: float = 0,
    ) -> Instances:
        """Keep those that score above `threshold`, are of one of the classes, and have `min_area` mask pixels.

        Unlike in `predict`, an instance must be both of `class_ids` and of `labels` where both are given.

        Args:
            threshold: from 0 to 1.
            class_ids: one class, or an iterable of them.
            labels: one class name, or an iterable of them.
            min_area: in pixels.

        Raises:
            InvalidParameter: an argument is something else.
        """
        return self.take(
            self.matching(threshold=threshold, class_ids=class_ids, labels=labels, min_area=min_area),
        )

    def matching(
        self,
        *,
        threshold: float | None = None,
        class_ids: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        min_area: float = 0,
    ) -> list[int]:
        """Return the positions of those that `filter` keeps; the arguments are its.

        Raises:
            InvalidParameter: an argument is something else.
        """
        keep = np.ones(len(self), bool)
        min_area = checked_area(min_area)
        if (score := checked_threshold(threshold)) is not None:
            keep &= self.scores > np.float32(score)
        if class_ids is not None:
            keep &= np.isin(self.class_ids, checked_class_ids(class_ids))
        if labels is not None:
            wanted = frozenset(checked_labels(labels))
            keep &= np.array([label in wanted for label in self.labels], bool)
        if min_area > 0:
            keep &= np.array([mask.area >= min_area for mask in self.masks], bool)
        kept: list[int] = np.flatnonzero(keep).tolist()
        return kept

    def sort(self, by: Order = "score") -> Instances:
        """Sort: best score or largest mask first, by class name, from the left, or from the top.

        Instances that are equal in this keep their order.

        Raises:
            InvalidParameter: `by` is none of these.
        """
        return self.take(self.order(by))

    def order(self, by: Order = "score") -> list[int]:
        """Return the indices in the order of `sort`.

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
        return sorted(range(len(self)), key=keys.__getitem__)
