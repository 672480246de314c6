"""Suppression, with Paddle's own operator as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from maskserve_server.families.base import Selection
from maskserve_server.families.pp_yoloe_seg import PPYOLOESeg
from maskserve_server.nms import suppress, suppress_by_class


def test_the_better_one_of_two_that_overlap_is_kept() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], np.float32)
    assert suppress(boxes, np.array([0.5, 0.9, 0.1], np.float32), 0.5, normalized=True).tolist() == [1, 2]


def test_no_boxes_survive_where_there_are_none() -> None:
    assert suppress(np.empty((0, 4), np.float32), np.empty(0, np.float32), 0.5, normalized=True).size == 0


def test_boxes_without_an_area_do_not_divide_by_zero() -> None:
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5]], np.float32)
    assert suppress(boxes, np.array([0.5, 0.4], np.float32), 0.5, normalized=True).tolist() == [0, 1]


def _family(keep_top_k: int) -> PPYOLOESeg:
    return PPYOLOESeg(
        input_size=(64, 64),
        score_threshold=0.05,
        nms_threshold=0.6,
        nms_top_k=20,
        keep_top_k=keep_top_k,
        background_label=-1,
        normalized=True,
    )


@settings(deadline=None, max_examples=examples(25))
@given(seed=st.integers(0, 10_000), keep_top_k=st.sampled_from([5, 300]), threshold=st.sampled_from([0.05, 0.5]))
def test_survivors_are_those_of_multiclass_nms3(seed: int, keep_top_k: int, threshold: float) -> None:
    paddle = pytest.importorskip("paddle", reason="the oracle is Paddle's operator", exc_type=ImportError)
    generator = np.random.default_rng(seed)
    corners = generator.uniform(0, 40, (1, 30, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(1, 24, (1, 30, 2))], axis=2).astype(np.float32)
    scores = generator.uniform(0, 1, (1, 3, 30)).astype(np.float32)
    rows, _, _ = paddle._C_ops.multiclass_nms3(
        paddle.to_tensor(boxes), paddle.to_tensor(scores), None, 0.05, 20, keep_top_k, 0.6, True, 1.0, -1
    )
    wanted = rows.numpy().reshape(-1, 6)
    outputs = {
        "boxes": boxes,
        "scores": scores,
        "coefficients": np.zeros((1, 4, 30), np.float32),
        "prototypes": np.zeros((1, 4, 16, 16), np.float32),
    }
    found = _family(keep_top_k).detect(outputs, np.ones(2, np.float32), Selection(threshold))
    wanted = wanted[wanted[:, 1] > threshold]
    np.testing.assert_array_equal(found.labels, wanted[:, 0].astype(int))
    np.testing.assert_allclose(found.scores, wanted[:, 1])
    assert isinstance(found.boxes, np.ndarray)
    np.testing.assert_allclose(found.boxes, wanted[:, 2:], rtol=1e-6)


def one_by_one(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> list[int]:
    """The best one stays, and removes those that overlap it; then the best one of those that are left."""
    left, kept = np.argsort(-scores, kind="stable").tolist(), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [other for other in left if iou(boxes[best], boxes[other]) <= np.float32(overlap)]
    return kept


def iou(one: np.ndarray, other: np.ndarray) -> np.float32:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0), dtype=np.float32)
    union = np.prod(one[2:] - one[:2], dtype=np.float32) + np.prod(other[2:] - other[:2], dtype=np.float32) - shared
    return shared / union if union > 0 else np.float32(0)


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 65, 200])
def test_boxes_are_removed_by_those_alone_that_stay(count: int, overlap: float) -> None:
    """Also where there are more than are looked at at once: a box that is removed removes none behind it."""
    random = np.random.default_rng(count)
    corners = random.integers(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + random.integers(0, 40, (count, 2))], axis=1).astype(np.float32)
    scores = np.round(random.random(count), 1).astype(np.float32)  # many are equal
    assert suppress(boxes, scores, overlap, normalized=True).tolist() == one_by_one(boxes, scores, overlap)


@settings(deadline=None, max_examples=examples(40))
@given(data=st.data(), most=st.sampled_from([-1, 0, 1, 7, 40, 1000]), overlap=st.sampled_from([0.0, 0.3, 0.7]))
def test_classes_have_nothing_to_do_with_one_another(data: st.DataObject, most: int, overlap: float) -> None:
    """Also where small ones are looked at together: few and many boxes, equal scores, classes in any order."""
    sizes = data.draw(st.lists(st.sampled_from([0, 1, 2, 5, 30, 70, 90]), max_size=8))
    random = np.random.default_rng(sum(sizes))
    classes = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    corners = random.integers(0, 40, (len(classes), 2))
    boxes = np.concatenate([corners, corners + random.integers(1, 40, corners.shape)], axis=1).astype(np.float32)
    scores = (random.integers(1, 40, len(classes)) / 40).astype(np.float32)
    wanted = []
    for number in range(len(sizes)):
        own = np.flatnonzero(classes == number)
        if most > -1:
            own = own[np.argsort(-scores[own], kind="stable")[:most]]
        wanted += own[one_by_one(boxes[own], scores[own], overlap)].tolist()
    assert suppress_by_class(boxes, scores, classes, overlap, most=most, normalized=True).tolist() == wanted


def test_a_class_that_was_cut_short_is_looked_at_whole() -> None:
    """The best 40 of the first class leave room for others in its batch, which must not end inside of one."""
    random = np.random.default_rng(3)
    classes = np.repeat(np.arange(4), [90, 30, 70, 70])
    corners = random.integers(0, 9, (len(classes), 2))
    boxes = np.concatenate([corners, corners + 30], axis=1).astype(np.float32)
    scores = random.permutation(len(classes)).astype(np.float32)
    kept = suppress_by_class(boxes, scores, classes, 0.1, most=40, normalized=True)
    assert classes[kept].tolist() == [0, 1, 2, 3]
    assert scores[kept].tolist() == [scores[classes == number].max() for number in range(4)]
