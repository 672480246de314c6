"""Comparing answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve_tools.verify.comparison import all_equal, compare, mask_iou
from maskserve_tools.verify.reference import ReferenceInstance

SQUARE = np.ones((10, 10), np.uint8)


def _wanted(score: float = 0.9, label: int = 0, x: float = 5, mask: np.ndarray = SQUARE) -> ReferenceInstance:
    return ReferenceInstance(label, score, (x, 5, x + 10, 15), mask)


def _served(*instances: ReferenceInstance) -> Instances:
    masks = [Mask.from_crop(i.mask, int(i.box[0]), int(i.box[1]), (40, 60)) for i in instances]
    return Instances(
        boxes_xyxy=np.array([i.box for i in instances], np.float32).reshape(-1, 4),
        scores=np.array([i.score for i in instances], np.float32),
        class_ids=np.array([i.label for i in instances], np.int32),
        labels=tuple(str(i.label) for i in instances),
        masks=tuple(masks),
        image_size=(40, 60),
    )


def test_the_same_instances_in_another_order_are_equal() -> None:
    one, two = _wanted(), _wanted(0.8, 1, 30)
    assert compare([one, two], _served(two, one), 0.5).equal


def test_masks_decide_where_scores_and_boxes_leave_it_open() -> None:
    """SOLOv2 makes boxes from masks: two objects may share one, and their scores differ by less than rounding."""
    other = np.zeros_like(SQUARE)
    other[0], other[-1], other[:, 0], other[:, -1] = 1, 1, 1, 1
    wanted = [_wanted(score=0.50002), _wanted(score=0.50001, mask=other)]
    served = [_wanted(score=0.50001), _wanted(score=0.50002, mask=other)]
    assert compare(wanted, _served(*served), 0.3).equal
    assert not compare(wanted, _served(served[0], served[0]), 0.3).equal
    far = [_wanted(score=0.6), _wanted(score=0.5, mask=other)]
    assert not compare(far, _served(_wanted(score=0.5), _wanted(score=0.6, mask=other)), 0.3).equal, "these are others"


def test_nothing_equals_nothing() -> None:
    assert compare([], _served(), 0.5).equal


def test_an_instance_that_is_missing_or_extra_is_counted() -> None:
    found = compare([_wanted(), _wanted(0.8, 1, 30)], _served(_wanted(), _wanted(0.7, 2, 20)), 0.5)
    assert (found.matched, found.missing, found.extra, found.equal) == (1, 1, 1, False)


def test_a_score_at_the_threshold_may_fall_on_either_side() -> None:
    assert compare([_wanted(), _wanted(0.5004, 1, 30)], _served(_wanted()), 0.5).equal
    assert compare([_wanted()], _served(_wanted(), _wanted(0.5004, 1, 30)), 0.5).equal


@pytest.mark.parametrize("other", [_wanted(0.95), _wanted(x=5.6), _wanted(mask=np.tril(SQUARE))])
def test_a_difference_of_score_box_or_mask_is_no_equality(other: ReferenceInstance) -> None:
    found = compare([_wanted()], _served(other), 0.5)
    assert found.matched == 1
    assert not found.equal


def _without(pixels: int) -> np.ndarray:
    mask = SQUARE.copy()
    mask[4, :pixels] = 0
    return mask


def test_up_to_two_pixels_of_a_small_mask_are_rounding() -> None:
    found = compare([_wanted()], _served(_wanted(mask=_without(2))), 0.5)
    assert (found.mask_ious, found.mask_pixels, found.equal) == ((0.98,), (2,), True)
    assert not compare([_wanted()], _served(_wanted(mask=_without(3))), 0.5).equal


def test_rows_that_only_one_crop_has_are_left_out() -> None:
    image = np.random.default_rng(0).integers(0, 2, (30, 30), np.uint8)
    crop = image[5:15, 5:15]
    assert mask_iou(crop, (5, 5), image[6:15, 5:15], (5, 6)) == 1
    assert mask_iou(crop, (5, 5), image[5:14, 4:16], (4, 5)) == 1
    assert mask_iou(crop, (5, 5), image[6:16, 5:15], (5, 5)) < 0.9


@pytest.mark.parametrize(("shape", "corner"), [((8, 10), (5, 5)), ((10, 12), (5, 5)), ((10, 10), (3, 5))])
def test_crops_that_differ_by_more_than_a_pixel_are_other_masks(
    shape: tuple[int, int], corner: tuple[int, int]
) -> None:
    assert mask_iou(SQUARE, (5, 5), np.ones(shape, np.uint8), corner) == 0


def test_two_empty_masks_are_equal() -> None:
    assert mask_iou(np.zeros((4, 4), np.uint8), (0, 0), np.zeros((4, 4), np.uint8), (0, 0)) == 1


def test_what_paddle_itself_loses_or_finds_for_all_but_the_same_photo_is_a_tie() -> None:
    sure, lost, found = _wanted(), _wanted(0.8, 1, 30), _wanted(0.7, 2, 20)
    nearby = [[sure, lost], [sure, replace(found, score=0.65, box=(20.9, 5, 30, 15))]]
    comparison = compare([sure, lost], _served(sure, found), 0.5, nearby=nearby)
    assert (comparison.matched, comparison.missing, comparison.extra, comparison.ties) == (1, 0, 0, 2)
    assert comparison.equal
    steady = compare([sure, lost], _served(sure, found), 0.5, nearby=[[sure, lost]] * 2)
    assert (steady.missing, steady.extra, steady.ties) == (1, 1, 0)


def test_an_answer_is_unsteady_where_paddles_own_moves_farther() -> None:
    sure, moved = _wanted(), _wanted(0.95)
    restless = [[_wanted(0.8)], [sure]]
    assert compare([sure], _served(moved), 0.5, nearby=restless).unsteady
    assert not compare([sure], _served(moved), 0.5, nearby=restless).equal
    assert not compare([sure], _served(moved), 0.5, nearby=[[sure], [_wanted(0.91)]]).unsteady
    assert not compare([sure], _served(moved), 0.5).unsteady
    assert not compare([sure], _served(sure), 0.5, nearby=restless).unsteady


@pytest.mark.parametrize("other", [_wanted(x=5.6), _wanted(mask=np.tril(SQUARE)), _wanted(0.9, 1, 30)])
def test_no_answer_is_unsteady_in_a_way_in_which_paddles_is_not(other: ReferenceInstance) -> None:
    assert not compare([_wanted()], _served(other), 0.5, nearby=[[_wanted(0.8)]]).unsteady


def test_the_median_is_that_of_all_photos() -> None:
    whole = np.ones((40, 40), np.uint8)
    worn = whole.copy()
    worn[0, :6] = 0  # 6 of 1600 pixels
    box = (0.0, 0.0, 40.0, 40.0)
    same = compare([ReferenceInstance(0, 0.9, box, whole)], _served(ReferenceInstance(0, 0.9, box, whole)), 0.5)
    less = compare([ReferenceInstance(0, 0.9, box, whole)], _served(ReferenceInstance(0, 0.9, box, worn)), 0.5)
    assert less.equal
    assert all_equal([same, same, less])
    assert not all_equal([same, less, less])
