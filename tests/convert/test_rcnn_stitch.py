"""What joins the parts of an R-CNN, one subgraph at a time in ONNX Runtime, with Paddle's operators as the oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from maskserve_convert.families.rcnn import pooling, proposals
from maskserve_convert.families.rcnn.structure import Assignment, Pooling, ProposalLevel, Proposals
from tests.convert.graphs import Graph
from tests.convert.rcnn_graphs import Tensors, random_boxes, run

pytestmark = pytest.mark.filterwarnings("ignore")  # Paddle's own, while it is imported

IM_SHAPE = np.array([[90, 120]], np.float32)


# Proposals

LEVEL = ProposalLevel(scores=0, deltas=0, anchors=0, variance=1.0)
PROPOSALS = Proposals(
    levels=(LEVEL,),
    pre_nms_top_n=60,
    post_nms_top_n=20,
    nms_threshold=0.7,
    min_size=0.0,
    eta=1.0,
    pixel_offset=False,
    top_n=None,
)


def level_tensors(seed: int, height: int, width: int, kinds: int = 3) -> dict[str, np.ndarray]:
    """Scores, deltas and anchors as a region proposal network makes them."""
    generator = np.random.default_rng(seed)
    y, x = np.meshgrid(np.arange(height) * 12.0, np.arange(width) * 12.0, indexing="ij")
    centres = np.stack([x, y, x, y], axis=-1)[:, :, None]
    sides = np.array([[-8, -8, 8, 8], [-16, -8, 16, 8], [-8, -16, 8, 16]])[:kinds]
    return {
        "scores": generator.normal(-3, 2, (1, kinds, height, width)).astype(np.float32),
        "deltas": generator.normal(0, 0.6, (1, 4 * kinds, height, width)).astype(np.float32),
        "anchors": (centres + sides).reshape(-1, 4).astype(np.float32),
    }


def paddle_proposals(paddle: Any, rules: Proposals, level: Tensors) -> tuple[np.ndarray, np.ndarray]:
    variances = np.full_like(level["anchors"], rules.levels[0].variance)
    tensors = (paddle.to_tensor(array) for array in (level["scores"], level["deltas"], IM_SHAPE))
    boxes, scores, _ = paddle._C_ops.generate_proposals(
        *tensors,
        paddle.to_tensor(level["anchors"]),
        paddle.to_tensor(variances),
        rules.pre_nms_top_n,
        rules.post_nms_top_n,
        rules.nms_threshold,
        rules.min_size,
        1.0,
        rules.pixel_offset,
    )
    return boxes.numpy(), scores.numpy().reshape(-1)


def own_proposals(rules: Proposals, levels: list[dict[str, np.ndarray]]) -> np.ndarray:
    inputs = {f"{name}.{number}": array for number, level in enumerate(levels) for name, array in level.items()}

    def propose(graph: Graph) -> tuple[Any, ...]:
        kinds = ("scores", "deltas", "anchors")
        tensors = [[graph.input(f"{kind}.{number}") for kind in kinds] for number in range(len(levels))]
        return proposals.propose(graph, rules, tensors, graph.input("im_shape"))

    boxes, count = run(propose, {**inputs, "im_shape": IM_SHAPE})
    assert boxes.shape == (rules.limit, 4)
    assert not boxes[int(count[0]) :].any()
    return boxes[: int(count[0])]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"pre_nms_top_n": 10_000},
        {"post_nms_top_n": 5},
        {"min_size": 12.0},
        {"nms_threshold": 0.3},
        {"pixel_offset": True},
        {"levels": (replace(LEVEL, variance=0.5),)},
    ],
    ids=str,
)
def test_proposals_are_those_of_generate_proposals(paddle: Any, change: dict[str, Any]) -> None:
    rules = replace(PROPOSALS, **change)
    for seed in range(5):
        level = level_tensors(seed, 7, 9)
        wanted, _ = paddle_proposals(paddle, rules, level)
        np.testing.assert_allclose(own_proposals(rules, [level]), wanted, atol=1e-4)


@pytest.mark.parametrize("top_n", [15, 1000])
def test_the_best_of_all_levels_are_taken_or_all_in_their_order(paddle: Any, top_n: int) -> None:
    rules = replace(PROPOSALS, levels=(LEVEL, LEVEL), top_n=top_n)
    levels = [level_tensors(3, 7, 9), level_tensors(4, 3, 4)]
    found = [paddle_proposals(paddle, rules, level) for level in levels]
    boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(-scores)[:top_n] if len(scores) > top_n else np.arange(len(scores))
    np.testing.assert_allclose(own_proposals(rules, levels), boxes[order], atol=1e-4)


def test_nothing_left_to_propose_is_no_error() -> None:
    assert len(own_proposals(replace(PROPOSALS, min_size=1e6), [level_tensors(1, 2, 2)])) == 0


# Pooling

ASSIGNMENT = Assignment(min_level=2, max_level=5, refer_level=4, refer_scale=56, pixel_offset=False)
SCALES = (0.25, 0.125, 0.0625, 0.03125)
POOLING = Pooling(
    boxes=0,
    features=(0, 1, 2, 3),
    scales=SCALES,
    size=(7, 7),
    sampling_ratio=0,
    aligned=False,
    assignment=ASSIGNMENT,
    pooled=0,
)


def paddle_pooling(paddle: Any, rules: Pooling, features: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
    """Each box pooled from its level."""
    from paddle.vision import ops

    level = np.zeros(len(boxes), int)
    if rules.assignment is not None:
        a, count = rules.assignment, paddle.to_tensor(np.array([len(boxes)], np.int32))
        levels = a.min_level, a.max_level, a.refer_level, a.refer_scale, a.pixel_offset
        shared, *_ = ops.distribute_fpn_proposals(paddle.to_tensor(boxes), *levels, rois_num=count)
        members = [{tuple(box) for box in part.numpy().tolist()} for part in shared]
        level = np.array([next(i for i, part in enumerate(members) if tuple(box) in part) for box in boxes.tolist()])
    return np.concatenate(
        [
            ops.roi_align(
                paddle.to_tensor(features[i]),
                paddle.to_tensor(box[None]),
                paddle.to_tensor(np.array([1], np.int32)),
                rules.size,
                rules.scales[i],
                rules.sampling_ratio or -1,
                rules.aligned,
            ).numpy()
            for i, box in zip(level, boxes, strict=True)
        ]
    )


def own_pooling(rules: Pooling, features: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
    inputs = {f"feature.{number}": feature for number, feature in enumerate(features)}

    def pool(graph: Graph) -> tuple[Any, ...]:
        return (pooling.pool(graph, rules, [graph.input(name) for name in inputs], graph.input("boxes")),)

    (pooled,) = run(pool, {**inputs, "boxes": boxes})
    return pooled


def feature_maps(seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(1, 5, int(128 * s), int(160 * s))).astype(np.float32) for s in SCALES]


@pytest.mark.parametrize("change", [{}, {"aligned": True}, {"sampling_ratio": 2}, {"size": (14, 14)}], ids=str)
def test_pooling_is_that_of_roi_align_on_each_boxs_level(paddle: Any, change: dict[str, Any]) -> None:
    rules, features = replace(POOLING, **change), feature_maps(0)
    boxes = random_boxes(np.random.default_rng(1), 40, 100)
    wanted = paddle_pooling(paddle, rules, features, boxes)
    np.testing.assert_allclose(own_pooling(rules, features, boxes), wanted, atol=1e-4)


def test_boxes_on_the_border_between_levels_go_where_paddle_puts_them(paddle: Any) -> None:
    sides = np.array([13.99, 14, 14.01, 28, 28.01, 55.999, 56, 111.9, 112, 112.1, 0, 1e-3], np.float32)
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)
    features, rules = feature_maps(2), POOLING
    np.testing.assert_allclose(
        own_pooling(rules, features, boxes), paddle_pooling(paddle, rules, features, boxes), atol=1e-4
    )


def test_a_level_without_boxes_is_no_error(paddle: Any) -> None:
    features, boxes = feature_maps(3), random_boxes(np.random.default_rng(2), 3, 4)
    np.testing.assert_allclose(
        own_pooling(POOLING, features, boxes), paddle_pooling(paddle, POOLING, features, boxes), atol=1e-4
    )
