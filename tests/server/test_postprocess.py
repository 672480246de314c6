"""From the tensors at the cut to instances."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskserve.errors import InvalidParameter
from maskserve.masks import decode_crop
from maskserve_server.families import FAMILIES, Selection, load_family
from maskserve_server.families.mask_rt_detr import MaskRTDETR
from maskserve_server.families.pp_yoloe_seg import PPYOLOESeg
from maskserve_server.postprocess import Instances, postprocess, selection

SIZE = (60, 80)


def _detr(rows: list[list[float]], logits: np.ndarray | None = None) -> dict[str, np.ndarray]:
    count = len(rows)
    grid = np.ones((count, 15, 20), np.float32) if logits is None else logits
    return {"detections": np.array([rows], np.float32).reshape(1, count, 6), "mask_logits": grid[None]}


def _answer(rows: list[list[float]], threshold: float = 0.5, logits: np.ndarray | None = None) -> Instances:
    return postprocess(MaskRTDETR(), _detr(rows, logits), np.ones(2, np.float32), SIZE, Selection(threshold))


def test_only_higher_scores_than_the_threshold_are_kept_in_the_models_order() -> None:
    answer = _answer([[1, 0.9, 0, 0, 9, 9], [0, 0.5, 0, 0, 9, 9], [2, 0.6, 1, 1, 9, 9]])
    assert answer.labels.tolist() == [1, 2]
    assert answer.scores.tolist() == pytest.approx([0.9, 0.6])


def test_padding_rows_are_no_instances() -> None:
    assert len(_answer([[-1, 0.9, 0, 0, 9, 9]]).masks) == 0


def test_boxes_are_clipped_and_masks_cropped_at_the_rounded_corners() -> None:
    answer = _answer([[0, 0.9, -5, 10.6, 90, 20.4]])
    assert answer.boxes[0].tolist() == pytest.approx([0, 10.6, 80, 20.4], abs=1e-5)
    assert answer.mask_boxes.tolist() == [[0, 11, 80, 9]]
    assert decode_crop(answer.masks[0], 9, 80).all()


def test_a_box_outside_the_photo_is_dropped_together_with_its_mask() -> None:
    logits = np.stack([np.full((15, 20), value, np.float32) for value in (1, 1, -1)])
    answer = _answer([[0, 0.9, 100, 0, 120, 9], [1, 0.8, 5, 5, 5, 9], [2, 0.7, 0, 0, 10, 10]], logits=logits)
    assert answer.labels.tolist() == [2]
    assert not decode_crop(answer.masks[0], 10, 10).any()


def test_no_instances_are_columns_of_length_zero() -> None:
    answer = _answer([[0, 0.1, 0, 0, 9, 9]])
    assert answer.boxes.shape == (0, 4)
    assert answer.mask_boxes.shape == (0, 4)
    assert answer.scores.shape == answer.labels.shape == (0,)
    assert answer.masks == ()


def test_the_mask_is_the_resized_logits_above_zero() -> None:
    logits = cv2.GaussianBlur(np.random.default_rng(3).normal(size=(15, 20)).astype(np.float32), (0, 0), 2)
    answer = _answer([[0, 0.9, 10, 5, 70, 55]], logits=logits[None])
    wanted = cv2.resize(logits, (80, 60))[5:55, 10:70] > 0
    assert np.mean(decode_crop(answer.masks[0], 50, 60) != wanted) < 0.001


def test_only_the_classes_asked_for_are_kept() -> None:
    wanted = selection(None, [2], default=0.5, classes=3)
    outputs = _detr([[1, 0.9, 0, 0, 9, 9], [2, 0.8, 0, 0, 9, 9]])
    answer = postprocess(MaskRTDETR(), outputs, np.ones(2, np.float32), SIZE, wanted)
    assert answer.labels.tolist() == [2]


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), 50.0, 1.001, -0.1])
def test_a_threshold_that_is_no_number_is_refused(threshold: float) -> None:
    with pytest.raises(InvalidParameter, match="threshold"):
        selection(threshold, None, default=0.5, classes=3)


@pytest.mark.parametrize("class_id", [-1, 3])
def test_a_class_that_does_not_exist_is_named(class_id: int) -> None:
    with pytest.raises(InvalidParameter, match=rf"\[{class_id}\].*0 to 2"):
        selection(None, [class_id], default=0.5, classes=3)


def test_no_threshold_means_the_models_own() -> None:
    assert selection(None, None, default=0.4, classes=3) == Selection(0.4, None)


def _yoloe() -> PPYOLOESeg:
    return PPYOLOESeg(
        input_size=(32, 32),
        score_threshold=0.01,
        nms_threshold=0.7,
        nms_top_k=1000,
        keep_top_k=300,
        background_label=-1,
        normalized=True,
    )


def test_yoloe_paints_prototypes_inside_the_box_only() -> None:
    prototypes = np.ones((1, 2, 8, 8), np.float32)
    outputs = {
        "boxes": np.array([[[8, 8, 24, 16]]], np.float32),
        "scores": np.array([[[0.9]]], np.float32),
        "coefficients": np.full((1, 2, 1), 4, np.float32),
        "prototypes": prototypes,
    }
    scale = np.array([32 / 60, 32 / 80], np.float32)
    answer = postprocess(_yoloe(), outputs, scale, SIZE, Selection(0.5))
    assert answer.boxes.tolist() == [pytest.approx([20, 15, 60, 30], abs=1e-4)]
    assert decode_crop(answer.masks[0], 15, 40).mean() > 0.9


def test_yoloe_finds_nothing_where_no_score_is_high_enough() -> None:
    outputs = {
        "boxes": np.zeros((1, 5, 4), np.float32),
        "scores": np.zeros((1, 3, 5), np.float32),
        "coefficients": np.zeros((1, 2, 5), np.float32),
        "prototypes": np.full((1, 2, 8, 8), 1e4, np.float32),
    }
    assert len(postprocess(_yoloe(), outputs, np.ones(2, np.float32), SIZE, Selection(0.5)).masks) == 0


def test_extreme_mask_logits_do_not_overflow() -> None:
    outputs = {
        "boxes": np.array([[[0, 0, 32, 32]]], np.float32),
        "scores": np.array([[[0.9]]], np.float32),
        "coefficients": np.full((1, 2, 1), -1e4, np.float32),
        "prototypes": np.full((1, 2, 8, 8), 1e4, np.float32),
    }
    answer = postprocess(_yoloe(), outputs, np.ones(2, np.float32), (32, 32), Selection(0.5))
    assert not decode_crop(answer.masks[0], 32, 32).any()


def test_every_family_is_found_by_its_own_name() -> None:
    assert all(name == family.name for name, family in FAMILIES.items())
    assert load_family("mask_rt_detr", {"mask_threshold": 0.4}) == MaskRTDETR(0.4)
