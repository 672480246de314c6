"""The suppression of an R-CNN and what follows it, in ONNX Runtime, with Paddle's operators as the oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from maskserve_convert.families.rcnn import suppression
from maskserve_convert.families.rcnn.structure import Suppression
from tests.convert.graphs import Graph
from tests.convert.rcnn_graphs import random_boxes, run

pytestmark = pytest.mark.filterwarnings("ignore")  # Paddle's own, while it is imported

SUPPRESSION = Suppression(
    boxes=0,
    scores=0,
    classes=4,
    score_threshold=0.05,
    nms_threshold=0.5,
    nms_eta=1.0,
    nms_top_k=-1,
    keep_top_k=12,
    background_label=4,
    normalized=True,
)


def own_rows(rules: Suppression, boxes: np.ndarray, scores: np.ndarray, count: int, floor: float) -> np.ndarray:
    labels, kept, where = run(
        lambda graph: suppression.keep_best(
            graph,
            rules,
            graph.input("boxes"),
            graph.input("scores"),
            count=graph.input("count"),
            floor=graph.input("floor"),
        ),
        {
            "boxes": boxes,
            "scores": scores,
            "count": np.array([count], np.int64),
            "floor": np.array([floor], np.float32),
        },
    )
    return np.concatenate([labels[:, None], kept[:, None], where], axis=1)


def paddle_rows(paddle: Any, rules: Suppression, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    rows, _, _ = paddle._C_ops.multiclass_nms3(
        paddle.to_tensor(boxes),
        paddle.to_tensor(scores),
        paddle.to_tensor(np.array([len(boxes)], np.int32)),
        rules.score_threshold,
        rules.nms_top_k,
        rules.keep_top_k,
        rules.nms_threshold,
        rules.normalized,
        rules.nms_eta,
        rules.background_label,
    )
    return np.asarray(rows.numpy())


def candidates(seed: int, count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    boxes = np.stack([random_boxes(generator, count, 40) for _ in range(4)], axis=1)
    return boxes, generator.uniform(0, 1, (count, 4)).astype(np.float32)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"keep_top_k": -1},
        {"keep_top_k": 500},
        {"nms_threshold": 0.2},
        {"background_label": 2},
        {"normalized": False},
    ],
    ids=str,
)
def test_rows_and_their_order_are_those_of_multiclass_nms3(paddle: Any, change: dict[str, Any]) -> None:
    rules = replace(SUPPRESSION, **change)
    for seed in range(5):
        boxes, scores = candidates(seed)
        wanted = paddle_rows(paddle, rules, boxes, scores)
        np.testing.assert_allclose(own_rows(rules, boxes, scores, len(boxes), 0.0), wanted, rtol=1e-6)


@pytest.mark.parametrize("floor", [0.3, 0.9])
def test_leaving_out_low_scores_first_leaves_the_others_as_they_are(paddle: Any, floor: float) -> None:
    rules = replace(SUPPRESSION, keep_top_k=500)
    boxes, scores = candidates(7)
    wanted = paddle_rows(paddle, rules, boxes, scores)
    wanted = wanted[wanted[:, 1] > np.float32(floor)]
    np.testing.assert_allclose(own_rows(rules, boxes, scores, len(boxes), floor), wanted, rtol=1e-6)


def test_boxes_beyond_the_count_are_left_out(paddle: Any) -> None:
    boxes, scores = candidates(8)
    wanted = paddle_rows(paddle, SUPPRESSION, boxes[:17], scores[:17])
    np.testing.assert_allclose(own_rows(SUPPRESSION, boxes, scores, 17, 0.0), wanted, rtol=1e-6)


def test_where_nothing_is_left_there_is_one_row_that_is_no_instance() -> None:
    boxes, scores = candidates(9)
    assert own_rows(SUPPRESSION, boxes, scores, len(boxes), 1.0).tolist() == [[-1, -1, 0, 0, 0, 0]]


def test_boxes_are_clipped_to_the_original_image_and_empty_ones_marked() -> None:
    boxes = np.array([[10, 10, 50, 40], [-5, 3, 700, 500], [320, 10, 330, 20]], np.float32)

    def rows_of(graph: Graph) -> tuple[Any, ...]:
        sizes = graph.input("im_shape"), graph.input("scale_factor")
        original = suppression.to_original(graph, graph.input("boxes"), *sizes)
        return (suppression.rows(graph, graph.input("labels"), graph.input("scores"), original),)

    (rows,) = run(
        rows_of,
        {
            "boxes": boxes,
            "labels": np.array([3, 4, 5]),
            "scores": np.array([0.9, 0.8, 0.7], np.float32),
            "im_shape": np.array([[200, 300]], np.float32),
            "scale_factor": np.array([[2, 3]], np.float32),
        },
    )
    np.testing.assert_allclose(rows[:2, 2:], [[10 / 3, 5, 50 / 3, 20], [0, 1.5, 100, 100]], rtol=1e-6)
    assert rows[:, 0].tolist() == [3, 4, -1]


def test_each_rows_mask_is_that_of_its_class() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 5, 4, 4)).astype(np.float32)
    (masks,) = run(
        lambda graph: (suppression.of_class(graph, graph.input("logits"), graph.input("labels")),),
        {"logits": logits, "labels": np.array([4, 0, -1])},
    )
    np.testing.assert_allclose(masks, 1 / (1 + np.exp(-logits[[0, 1, 2], [4, 0, 0]])), rtol=1e-5)
