"""Hold a served answer against what PaddleX answers for the same image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from maskserve.instances import Instances
from maskserve_tools.verify.reference import ReferenceInstance

# A score may differ by this much between engines, and so move an instance across the threshold.
SCORE_TOLERANCE = 1e-3
BOX_TOLERANCE = 0.5  # pixels
MASK_IOU = 0.995
# In how many pixels a small mask may differ.
FEW_PIXELS = 2
# In two answers to all but the same image, boxes whose sides are less than so many pixels apart are the same.
SAME_BOX = 2.0

Corner = tuple[int, int]
Answer = Sequence[ReferenceInstance]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences on one image.

    Attributes:
        matched: instances in both answers.
        missing: instances that only the reference has, those within `SCORE_TOLERANCE` of the threshold left out.
        extra: the same, for instances that only the served answer has.
        ties: instances that only one of them has, but that the reference itself loses or finds for an image that is all
            but the same; `missing` and `extra` do not count them.
        score: the largest difference of a score.
        box: the largest difference of a box's side, in pixels.
        mask_ious: intersection over union of each matched pair of crop masks.
        mask_pixels: how many pixels differ in each of them.
        unsteady: not equal, but nearer to the reference in every respect than the reference is to its own answer for an
            image that is all but the same: no other implementation can be held to more.
    """

    matched: int
    missing: int
    extra: int
    ties: int
    score: float
    box: float
    mask_ious: tuple[float, ...]
    mask_pixels: tuple[int, ...]
    unsteady: bool = False

    @property
    def equal(self) -> bool:
        """Same instances, scores within `SCORE_TOLERANCE`, boxes within 0.5 px, masks at least 0.995.

        A mask of under 400 pixels may differ in `FEW_PIXELS`: there that is the finest step of an intersection over
        union, and rounding alone moves a pixel whose value lies at the threshold.
        """
        pairs = zip(self.mask_ious, self.mask_pixels, strict=True)
        masks = all(iou >= MASK_IOU or pixels <= FEW_PIXELS for iou, pixels in pairs)
        same = self.missing == 0 and self.extra == 0
        return same and self.score <= SCORE_TOLERANCE and self.box <= BOX_TOLERANCE and masks


def median_iou(comparisons: Iterable[Comparison]) -> float:
    """Return the median of all masks' intersections over union; 1 where there are none."""
    return float(np.median([iou for comparison in comparisons for iou in comparison.mask_ious] or [1.0]))


def all_equal(comparisons: Sequence[Comparison]) -> bool:
    """Return whether each pair is equal, and the masks at least 0.999 in the median."""
    return all(comparison.equal for comparison in comparisons) and median_iou(comparisons) >= 0.999


def compare(
    reference: Answer,
    served: Instances,
    threshold: float,
    *,
    nearby: Sequence[Answer] = (),
) -> Comparison:
    """Match the instances of two answers by class, score and box, and measure how the pairs differ.

    Args:
        reference: PaddleX's instances.
        served: the server's.
        threshold: the score threshold both were asked for.
        nearby: PaddleX's instances for images that are all but the same, to tell by what ties are, and how steady
            PaddleX's own answer is.
    """
    answered = [_instance(served, index) for index in range(len(served))]
    found = _compare(reference, answered, threshold, nearby)
    own = [_compare(reference, other, threshold) for other in nearby]
    unsteady = not found.equal and _is_within(found, own)
    return replace(found, unsteady=unsteady)


def _compare(reference: Answer, other: Answer, threshold: float, nearby: Sequence[Answer] = ()) -> Comparison:
    pairs = _uncrossed(_match(reference, other), reference, other)
    missing = [reference[i] for i in sorted(set(range(len(reference))) - {i for i, _ in pairs})]
    extra = [other[j] for j in sorted(set(range(len(other))) - {j for _, j in pairs})]
    tied = [lost for lost in missing if not all(_holds(one, lost) for one in nearby)]
    tied += [found for found in extra if any(_holds(one, found) for one in nearby)]
    overlaps = [_pair_overlap(reference[i], other[j]) for i, j in pairs]
    return Comparison(
        matched=len(pairs),
        missing=_count(missing, tied, threshold),
        extra=_count(extra, tied, threshold),
        ties=len(tied),
        score=max((abs(other[j].score - reference[i].score) for i, j in pairs), default=0.0),
        box=max((_distance(reference[i], other[j]) for i, j in pairs), default=0.0),
        mask_ious=tuple(both / either if either else 1.0 for both, either in overlaps),
        mask_pixels=tuple(either - both for both, either in overlaps),
    )


def _is_within(found: Comparison, own: Sequence[Comparison]) -> bool:
    """Return whether two answers are no farther apart than the farthest of others, in every respect."""
    limits = [max(values) for values in zip(*map(_worst, own), strict=True)]
    return bool(limits) and all(value <= limit for value, limit in zip(_worst(found), limits, strict=True))


def _worst(found: Comparison) -> tuple[int, float, float, float]:
    """Return how far two answers are apart: instances that only one has, score, box, mask."""
    return found.missing + found.extra, found.score, found.box, 1 - min(found.mask_ious, default=1.0)


def _count(unmatched: Answer, tied: Answer, threshold: float) -> int:
    known = {id(instance) for instance in tied}
    return sum(abs(one.score - threshold) > SCORE_TOLERANCE and id(one) not in known for one in unmatched)


def _instance(served: Instances, index: int) -> ReferenceInstance:
    """Return one of the server's instances, decoded by pycocotools and put where the server says that its mask is."""
    x0, y0, x1, y1 = served.boxes_xyxy[index].tolist()
    x, y, width, height = served.masks[index].box
    counts = served.masks[index].counts
    mask = np.zeros((height, width), np.uint8)
    if mask.size:
        mask = coco.decode({"size": [height, width], "counts": counts})
    return ReferenceInstance(
        int(served.class_ids[index]), float(served.scores[index]), (x0, y0, x1, y1), mask, corner=(x, y)
    )


def _holds(instances: Answer, wanted: ReferenceInstance) -> bool:
    return any(one.label == wanted.label and _distance(one, wanted) < SAME_BOX for one in instances)


def _distance(one: ReferenceInstance, other: ReferenceInstance) -> float:
    """Return the distance between the boxes' farthest sides, in pixels."""
    return float(np.abs(np.subtract(one.box, other.box)).max())


def _match(reference: Answer, other: Answer) -> list[tuple[int, int]]:
    """Return pairs of the same object, each used once, the closest first."""
    distances = [
        (abs(one.score - wanted.score) + _distance(one, wanted), i, j)
        for i, wanted in enumerate(reference)
        for j, one in enumerate(other)
        if one.label == wanted.label
    ]
    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for distance, i, j in sorted(distances):
        if distance < 5 and i not in taken[0] and j not in taken[1]:
            pairs.append((i, j))
            taken[0].add(i)
            taken[1].add(j)
    return pairs


def _uncrossed(pairs: list[tuple[int, int]], reference: Answer, other: Answer) -> list[tuple[int, int]]:
    """Exchange partners where the criterion for scores and boxes allows it, and the masks fit better that way.

    Two objects of a class may have one box, as SOLOv2's do, and scores that differ by less than rounding.
    """
    found = list(pairs)
    overlaps = [_iou(reference[i], other[j]) for i, j in found]
    for first in [number for number, iou in enumerate(overlaps) if iou < MASK_IOU]:
        for second in range(len(found)):
            (i, j), (k, m) = found[first], found[second]
            if second == first or not (_alike(reference[i], other[m]) and _alike(reference[k], other[j])):
                continue
            crossed = _iou(reference[i], other[m]), _iou(reference[k], other[j])
            if sum(crossed) > overlaps[first] + overlaps[second]:
                found[first], found[second] = (i, m), (k, j)
                overlaps[first], overlaps[second] = crossed
    return found


def _alike(one: ReferenceInstance, other: ReferenceInstance) -> bool:
    scores = abs(one.score - other.score) <= SCORE_TOLERANCE
    return one.label == other.label and scores and _distance(one, other) <= BOX_TOLERANCE


def _iou(one: ReferenceInstance, other: ReferenceInstance) -> float:
    both, either = _pair_overlap(one, other)
    return both / either if either else 1.0


def mask_iou(one: npt.NDArray[np.uint8], at: Corner, other: npt.NDArray[np.uint8], other_at: Corner) -> float:
    """Return the intersection over union of two crops of the same image, see `mask_overlap`; 1 where both are empty."""
    both, either = mask_overlap(one, at, other, other_at)
    return both / either if either else 1.0


def mask_overlap(
    one: npt.NDArray[np.uint8], at: Corner, other: npt.NDArray[np.uint8], other_at: Corner
) -> tuple[int, int]:
    """Return how many pixels two crops of the same image have in common, and how many they have together.

    Rows and columns that only one of them has are left out: a box whose side lies on .5 may be rounded either way, and
    PP-YOLOE_seg's canvas is a row short for some heights. Crops whose sides differ by more than a pixel are not the
    same mask, and have nothing in common.

    Args:
        one: a mask, [h, w].
        at: x and y of its first pixel in the image.
        other: another mask.
        other_at: x and y of its first pixel.
    """
    sides = [(at[0], one.shape[1], other_at[0], other.shape[1]), (at[1], one.shape[0], other_at[1], other.shape[0])]
    if any(abs(a - b) > 1 or abs(a + m - b - n) > 1 for a, m, b, n in sides):
        return 0, max(one.size, other.size)
    x, y = (_overlap(*side) for side in sides)
    a = one[y.start - at[1] : y.stop - at[1], x.start - at[0] : x.stop - at[0]] != 0
    b = other[y.start - other_at[1] : y.stop - other_at[1], x.start - other_at[0] : x.stop - other_at[0]] != 0
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))


def _overlap(start: int, length: int, other: int, other_length: int) -> range:
    first = max(start, other)
    return range(first, max(first, min(start + length, other + other_length)))


def _pair_overlap(one: ReferenceInstance, other: ReferenceInstance) -> tuple[int, int]:
    return mask_overlap(one.mask, _corner(one), other.mask, _corner(other))


def _corner(instance: ReferenceInstance) -> Corner:
    return instance.corner or (round(instance.box[0]), round(instance.box[1]))
