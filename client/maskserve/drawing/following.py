"""Numbers for the objects of a video, so that each keeps its colour from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from maskserve.drawing.colours import by_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskserve.instances import Instances

_LEAST_OVERLAP = 0.3
_PATIENCE = 10  # frames in which an object may be missing


@dataclass(slots=True)
class _Seen:
    number: int
    class_id: int
    box: NDArray[np.float32]
    frame: int


class Follower:
    """Connects the instances of one frame with those of the frames before, by class and by how far boxes overlap.

    It is no tracker: an object that moves by more than its own size, or was hidden for long, gets a new number.
    """

    def __init__(self) -> None:
        self._seen: list[_Seen] = []
        self._frame, self._next = 0, 0

    def numbers(self, instances: Instances) -> list[int]:
        """Return the number of each instance of the next frame."""
        self._frame += 1
        self._seen = [seen for seen in self._seen if self._frame - seen.frame <= _PATIENCE]
        found = self._matches(instances)
        numbers = [0] * len(instances)
        for position in by_score(instances):  # new ones get their numbers as in an image
            seen = found.get(position)
            if seen is None:
                seen = _Seen(self._next, 0, instances.boxes_xyxy[position], 0)
                self._seen.append(seen)
                self._next += 1
            seen.class_id, seen.frame = int(instances.class_ids[position]), self._frame
            seen.box = instances.boxes_xyxy[position].copy()
            numbers[position] = seen.number
        return numbers

    def _matches(self, instances: Instances) -> dict[int, _Seen]:
        """Connect instances with what was seen: those that overlap most first, each once."""
        if not self._seen or not len(instances):
            return {}
        overlap = _overlaps(instances.boxes_xyxy, np.stack([seen.box for seen in self._seen]))
        overlap[instances.class_ids[:, None] != np.array([seen.class_id for seen in self._seen])] = 0
        pairs = np.argsort(-overlap, axis=None, kind="stable")[: np.count_nonzero(overlap >= _LEAST_OVERLAP)]
        found: dict[int, _Seen] = {}
        given: set[int] = set()
        for pair in pairs.tolist():
            position, other = divmod(pair, len(self._seen))
            if position not in found and other not in given:
                found[position] = self._seen[other]
                given.add(other)
        return found


def _overlaps(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the intersections over unions of two lists of boxes, [N, M]."""
    corner = np.maximum(one[:, None, :2], other[None, :, :2])
    far = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(far - corner, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None] - shared
    overlap: NDArray[np.float32] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap
