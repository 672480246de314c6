"""Hold a served answer against what PaddleX answers for the same photo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve_tools.verifying.reference import ReferenceInstance

# A score may differ by this much between engines, and so move an instance across the threshold.
SCORE_TOLERANCE = 1e-3
# In how many pixels a small mask may differ.
FEW_PIXELS = 2
# In two answers to all but the same photo, boxes whose sides are less than so many pixels apart are the same.
SAME_BOX = 2.0

Corner = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences on one photo.

    Attributes:
        matched: instances in both answers.
        missing: instances that only the reference has, those within `SCORE_TOLERANCE` of the threshold left out.
        extra: the same, for instances that only the served answer has.
        ties: instances that only one of them has, but that the reference itself loses or finds for a photo that is all
            but the same; `missing` and `extra` do not count them.
        score: the largest difference of a score.
        box: the largest difference of a box's side, in pixels.
        mask_ious: intersection over union of each matched pair of crop masks.
        mask_pixels: how many pixels differ in each of them.
    """

    matched: int
    missing: int
    extra: int
    ties: int
    score: float
    box: float
    mask_ious: tuple[float, ...]
    mask_pixels: tuple[int, ...]

    @property
    def equal(self) -> bool:
        """Same instances, scores within `SCORE_TOLERANCE`, boxes within 0.5 px, masks at least 0.995.

        A mask of under 400 pixels may differ in `FEW_PIXELS`: there that is the finest step of an intersection over
        union, and rounding alone moves a pixel whose value lies at the threshold.
        """
        pairs = zip(self.mask_ious, self.mask_pixels, strict=True)
        masks = all(iou >= 0.995 or pixels <= FEW_PIXELS for iou, pixels in pairs)
        same = self.missing == 0 and self.extra == 0
        return same and self.score <= SCORE_TOLERANCE and self.box <= 0.5 and masks


def median_iou(comparisons: Iterable[Comparison]) -> float:
    """The median of all masks' intersections over union; 1 where there are none."""
    return float(np.median([iou for comparison in comparisons for iou in comparison.mask_ious] or [1.0]))


def all_equal(comparisons: Sequence[Comparison]) -> bool:
    """Each of them, and the masks at least 0.999 in the median."""
    return all(comparison.equal for comparison in comparisons) and median_iou(comparisons) >= 0.999


def compare(
    reference: Sequence[ReferenceInstance],
    served: Instances,
    threshold: float,
    *,
    nearby: Sequence[Sequence[ReferenceInstance]] = (),
) -> Comparison:
    """Match the instances of two answers by class, score and box, and measure how the pairs differ.

    Args:
        reference: PaddleX's instances.
        served: the server's.
        threshold: the score threshold both were asked for.
        nearby: PaddleX's instances for photos that are all but the same, to tell ties by.
    """
    pairs = _match(reference, served)
    missing = [reference[i] for i in sorted(set(range(len(reference))) - {i for i, _ in pairs})]
    extra = [_instance(served, j) for j in sorted(set(range(len(served))) - {j for _, j in pairs})]
    tied = [lost for lost in missing if not all(_holds(other, lost) for other in nearby)]
    tied += [found for found in extra if any(_holds(other, found) for other in nearby)]
    boxes = [np.abs(served.boxes_xyxy[j] - reference[i].box).max() for i, j in pairs]
    scores = [abs(float(served.scores[j]) - reference[i].score) for i, j in pairs]
    overlaps = [_pair_overlap(reference[i], served.masks[j]) for i, j in pairs]
    return Comparison(
        matched=len(pairs),
        missing=_count(missing, tied, threshold),
        extra=_count(extra, tied, threshold),
        ties=len(tied),
        score=max(scores, default=0.0),
        box=float(max(boxes, default=0.0)),
        mask_ious=tuple(both / either if either else 1.0 for both, either in overlaps),
        mask_pixels=tuple(either - both for both, either in overlaps),
    )


def _count(unmatched: Sequence[ReferenceInstance], tied: Sequence[ReferenceInstance], threshold: float) -> int:
    known = {id(instance) for instance in tied}
    return sum(abs(one.score - threshold) > SCORE_TOLERANCE and id(one) not in known for one in unmatched)


def _instance(served: Instances, index: int) -> ReferenceInstance:
    x0, y0, x1, y1 = served.boxes_xyxy[index].tolist()
    return ReferenceInstance(
        int(served.class_ids[index]), float(served.scores[index]), (x0, y0, x1, y1), served.masks[index].crop()
    )


def _holds(instances: Sequence[ReferenceInstance], wanted: ReferenceInstance) -> bool:
    return any(
        one.label == wanted.label and np.abs(np.subtract(one.box, wanted.box)).max() < SAME_BOX for one in instances
    )


def _match(reference: Sequence[ReferenceInstance], served: Instances) -> list[tuple[int, int]]:
    """Pairs of the same object, each used once, the closest first."""
    distances = [
        (abs(float(served.scores[j]) - wanted.score) + float(np.abs(served.boxes_xyxy[j] - wanted.box).max()), i, j)
        for i, wanted in enumerate(reference)
        for j in range(len(served))
        if int(served.class_ids[j]) == wanted.label
    ]
    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for distance, i, j in sorted(distances):
        if distance < 5 and i not in taken[0] and j not in taken[1]:
            pairs.append((i, j))
            taken[0].add(i)
            taken[1].add(j)
    return pairs


def mask_iou(one: npt.NDArray[np.uint8], at: Corner, other: npt.NDArray[np.uint8], other_at: Corner) -> float:
    """Intersection over union of two crops of the same picture, see `mask_overlap`; 1 where both are empty."""
    both, either = mask_overlap(one, at, other, other_at)
    return both / either if either else 1.0


def mask_overlap(
    one: npt.NDArray[np.uint8], at: Corner, other: npt.NDArray[np.uint8], other_at: Corner
) -> tuple[int, int]:
    """How many pixels two crops of the same picture have in common, and how many they have together.

    Rows and columns that only one of them has are left out: a box whose side lies on .5 may be rounded either way, and
    PP-YOLOE_seg's canvas is a row short for some heights. Crops whose sides differ by more than a pixel are not the
    same mask, and have nothing in common.

    Args:
        one: a mask, [h, w].
        at: x and y of its first pixel in the picture.
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


def _pair_overlap(wanted: ReferenceInstance, mask: Mask) -> tuple[int, int]:
    corner = round(wanted.box[0]), round(wanted.box[1])
    return mask_overlap(wanted.mask, corner, mask.crop(), mask.box[:2])
