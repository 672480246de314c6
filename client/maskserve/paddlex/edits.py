"""What a result's dict says now: its boxes and masks may have been edited since the answer came.

The dict is the only truth. The instances are what the server answered for as long as the dict says the same, and are
made anew from the dict after an edit.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.errors import InvalidParameter
from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve.paddlex import serialize as _documents
from maskserve.paddlex.crops import Coded, Crop, MaskCrops, coded, elements_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Window = tuple[int, int, int, int]
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_TELLING = 16  # bytes of run lengths
_KEYS = ("cls_id", "label", "score", "coordinate")
_REMEDY = "change boxes and masks in the same way, or use filter, sort and take of the result, which keep them together"


@dataclass(frozen=True, slots=True)
class Row:
    """One of `boxes`, checked."""

    class_id: int
    label: str
    score: float
    corners: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The boxes of a result as columns; what they mean is said at `Instances`."""

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    labels: tuple[str, ...]


class Source:
    """What the server answered, the dict's boxes and masks that were made of it, and which belong together.

    Attributes:
        found: what the server answered.
        boxes: the box of each instance: the object that is in the dict's list.
        crops: the mask of each instance, likewise.
    """

    def __init__(self, found: Instances, boxes: list[Any] | None = None, crops: list[Crop] | None = None) -> None:
        self.found = found
        self.boxes = _documents.boxes(found) if boxes is None else boxes
        self.crops = [Crop(mask) for mask in found.masks] if crops is None else crops
        self._coded = [(mask.box[3], mask.box[2], mask.counts) for mask in found.masks]
        self._columns: tuple[list[Row], Columns] | None = None
        self._instances: tuple[list[Row], list[Coded], Instances] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Source, (self.found, self.boxes, self.crops)

    def items(self) -> dict[str, Any]:
        """Return the dict's `boxes` and `masks` as they are before any edit."""
        return {"boxes": list(self.boxes), "masks": MaskCrops(self.crops)}

    def columns(self, content: Mapping[str, Any]) -> Columns:
        """Return the columns of the boxes in a dict.

        Raises:
            InvalidParameter: they are not PaddleX's boxes any more.
        """
        boxes = _listed(content, "boxes")
        if self._has_boxes(boxes):
            found = self.found
            return Columns(found.boxes_xyxy, found.scores, found.class_ids, found.labels)
        rows = [_row(index, box) for index, box in enumerate(boxes)]
        if self._columns is None or self._columns[0] != rows:
            self._columns = rows, self._as_columns(rows)
        return self._columns[1]

    def instances(self, content: Mapping[str, Any]) -> Instances:
        """Return the instances that the boxes and masks in a dict stand for.

        Raises:
            InvalidParameter: they do not fit together, or are not PaddleX's boxes and masks any more.
        """
        boxes, masks = _listed(content, "boxes"), _listed(content, "masks")
        if self._has_boxes(boxes) and self._has_masks(masks):
            return self.found
        columns = self.columns(content)
        crops = [_coded(index, mask) for index, mask in enumerate(masks)]
        if len(boxes) != len(crops):
            raise InvalidParameter(f"the result has {len(boxes)} boxes but {len(crops)} masks: {_REMEDY}")
        rows = [_row(index, box) for index, box in enumerate(boxes)]
        self._check_owners(self._owners_of_boxes(boxes, rows), self._owners_of_masks(masks, crops))
        if self._instances is None or self._instances[:2] != (rows, crops):
            windows = self._windows(boxes, rows, crops)
            size = self.found.image_size
            made = [Mask(counts, window, size) for window, (_, _, counts) in zip(windows, crops, strict=True)]
            one = Instances(
                columns.boxes_xyxy, columns.scores, columns.class_ids, columns.labels, tuple(made), image_size=size
            )
            self._instances = rows, crops, one
        return self._instances[2]

    def take(self, content: Mapping[str, Any], indices: list[int]) -> Source:
        """Return the source of a result with some of a dict's instances; keys that were added to boxes are kept."""
        boxes = _listed(content, "boxes")
        chosen = self.instances(content).take(indices)
        if self._has_boxes(boxes):
            return Source(chosen)
        return Source(chosen, [{**boxes[i], "coordinate": list(boxes[i]["coordinate"])} for i in indices])

    def _has_boxes(self, boxes: list[Any]) -> bool:
        try:
            return bool(boxes == _documents.boxes(self.found))
        except ValueError:  # an array among them: it has no truth value
            return False

    def _has_masks(self, masks: list[Any]) -> bool:
        """Return whether these are the untouched crops, which is seen without a look at their pixels, or equal ones."""
        return len(masks) == len(self._coded) and all(
            mask is crop and crop.coded() == known
            for mask, crop, known in zip(masks, self.crops, self._coded, strict=True)
        )

    def _as_columns(self, rows: list[Row]) -> Columns:
        height, width = self.found.image_size
        corners = np.array([row.corners for row in rows], np.float64).reshape(-1, 4)
        return Columns(
            boxes_xyxy=np.clip(corners, 0, [width, height, width, height]).astype(np.float32),
            scores=np.array([row.score for row in rows], np.float32),
            class_ids=np.array([row.class_id for row in rows], np.int32),
            labels=tuple(row.label for row in rows),
        )

    def _owners_of_boxes(self, boxes: list[Any], rows: list[Row]) -> list[set[int]]:
        """Return for each box the instances of the answer that it may be of: by the object, and by where it is."""
        known = {id(box): {index} for index, box in enumerate(self.boxes)}
        nobody: set[int] = set()
        places: dict[tuple[float, ...], set[int]] = {}
        for index, box in enumerate(_documents.boxes(self.found)):
            places.setdefault(tuple(box["coordinate"]), set()).add(index)
        return [
            known.get(id(box), nobody) | places.get(row.corners, nobody) for box, row in zip(boxes, rows, strict=True)
        ]

    def _owners_of_masks(self, masks: list[Any], crops: list[Coded]) -> list[set[int]]:
        """Return for each mask the instances that it may be of: by the object, or else by what it is.

        That tells nothing where a mask is so simple that another one may have become it by an edit.
        """
        known = {id(crop): index for index, crop in enumerate(self.crops)}
        known |= {id(crop.pixels_held): i for i, crop in enumerate(self.crops) if crop.pixels_held is not None}
        same: dict[Coded, set[int]] = {}
        for index, crop in enumerate(self._coded):
            if crops == self._coded or len(crop[2]) >= _TELLING:
                same.setdefault(crop, set()).add(index)
        return [
            {known[id(mask)]} if id(mask) in known else same.get(crop, set())
            for mask, crop in zip(masks, crops, strict=True)
        ]

    def _check_owners(self, boxes: list[set[int]], masks: list[set[int]]) -> None:
        for index, (ones, others) in enumerate(zip(boxes, masks, strict=True)):
            if ones and others and not ones & others:
                raise InvalidParameter(
                    f'res["boxes"][{index}] and res["masks"][{index}] belong to different instances: {_REMEDY}'
                )

    def _windows(self, boxes: list[Any], rows: list[Row], crops: list[Coded]) -> list[Window]:
        """Return where each mask is: where it was, if its box is, else in its box's pixels, as PaddleX has it."""
        owners = self._owners_of_boxes(boxes, rows)
        places = [tuple(box["coordinate"]) for box in _documents.boxes(self.found)]
        windows = []
        for index, (row, (height, width, _)) in enumerate(zip(rows, crops, strict=True)):
            stays = [self.found.masks[owner].box for owner in owners[index] if places[owner] == row.corners]
            fitting = [window for window in (*stays, self._rounded(row)) if window[2:] == (width, height)]
            if not fitting:
                x, y, *box = self._rounded(row)
                raise InvalidParameter(
                    f'res["masks"][{index}] is {height} x {width} pixels (height x width), but its box covers '
                    f"{box[1]} x {box[0]}: give pixels[{y}:{y + box[1]}, {x}:{x + box[0]}] of a mask of the whole "
                    'image, or leave the masks out with del res["masks"]'
                )
            windows.append(fitting[0])
        return windows

    def _rounded(self, row: Row) -> Window:
        height, width = self.found.image_size
        limits = (width, height, width, height)
        x0, y0, x1, y1 = (min(max(round(value), 0), limit) for value, limit in zip(row.corners, limits, strict=True))
        return x0, y0, x1 - x0, y1 - y0


def _listed(content: Mapping[str, Any], key: str) -> list[Any]:
    if key not in content:
        raise InvalidParameter(
            f'the result has no "{key}" any more, which images and exports need: set res["{key}"] again. To leave '
            'masks out of JSON only, use to_dict(masks="none")'
        )
    value = content[key]
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable) or not hasattr(value, "__len__"):
        raise InvalidParameter(f'res["{key}"] is of type {type(value).__name__}: give a list')
    return elements_of(value)


def _coded(index: int, mask: Any) -> Coded:
    try:
        return coded(mask)
    except (ValueError, TypeError) as error:
        raise InvalidParameter(f'res["masks"][{index}] is not a mask: {error}') from None


def _row(index: int, box: Any) -> Row:
    where = f'res["boxes"][{index}]'
    if not isinstance(box, Mapping):
        raise InvalidParameter(f"{where} is of type {type(box).__name__}: give a dict of {', '.join(_KEYS)}")
    missing = [key for key in _KEYS if key not in box]
    if missing:
        raise InvalidParameter(f'{where} has no "{missing[0]}": a box is a dict of {", ".join(_KEYS)}')
    if not isinstance(box["label"], str):
        raise InvalidParameter(f'{where}["label"] is {box["label"]!r}: give text')
    return Row(
        _class_id(box["cls_id"], f'{where}["cls_id"]'),
        str.__str__(box["label"]),
        _number(box["score"], f'{where}["score"]'),
        _corners(box["coordinate"], f'{where}["coordinate"]'),
    )


def _class_id(value: Any, where: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if isinstance(value, bool) or not 0 <= number < 2**31:
        raise InvalidParameter(f"{where} is {value!r}: give the number of a class, from 0")
    return number


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if isinstance(value, str | bytes) or not abs(number) <= _FLOAT32_MAX:
        raise InvalidParameter(f"{where} is {value!r}: give a finite number")
    return number


def _corners(value: Any, where: str) -> tuple[float, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidParameter(f"{where} is {value!r}: give [x0, y0, x1, y1] in pixels")
    corners = tuple(_number(number, where) for number in value)
    if len(corners) != 4 or corners[2] < corners[0] or corners[3] < corners[1]:
        raise InvalidParameter(f"{where} is {list(corners)}: give [x0, y0, x1, y1] in pixels, x0 <= x1 and y0 <= y1")
    return corners
