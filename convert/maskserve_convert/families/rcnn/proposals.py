"""Region proposals in ONNX, as Paddle's `generate_proposals` makes them for one image, over all levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from maskserve_convert.families.rcnn.structure import ProposalLevel, Proposals
from maskserve_convert.onnx.builder import GraphBuilder, f32, i64, scalar

if TYPE_CHECKING:
    import onnx_ir as ir

# Paddle's kBBoxClipDefault: what a side may grow by.
_LARGEST_GROWTH = math.log(1000 / 16)
# Scores here are logits of any size: what is filtered out gets a score that none of them has.
_FILTERED = -3e38
_LOWEST = -1e38


def propose(
    graph: GraphBuilder,
    proposals: Proposals,
    tensors: Sequence[Sequence[ir.Value]],
    im_shape: ir.Value,
) -> tuple[ir.Value, ir.Value]:
    """Add the nodes.

    Args:
        graph: where to.
        proposals: the attributes.
        tensors: scores [1, A, h, w], deltas [1, 4 * A, h, w] and anchors [h * w * A, 4] of each level.
        im_shape: float32 [1, 2], height and width of the network's input without its padding.

    Returns:
        Boxes, float32 [R, 4], and how many of them there are, int64 [1]; R is fixed, and the rest have no area. They
        are the best of all levels by falling score, or all of them level by level where those are no more than R.
    """
    levels = [
        _of_level(graph, proposals, level, operands, im_shape)
        for level, operands in zip(proposals.levels, tensors, strict=True)
    ]
    limit = proposals.limit
    boxes = graph.op("Concat", *(boxes for boxes, _ in levels), np.zeros((limit, 4), np.float32), axis=0)
    scores = graph.op("Concat", *(scores for _, scores in levels), axis=0)
    found = graph.op("Shape", scores)
    filled = graph.op("Concat", scores, np.full(limit, _FILTERED, np.float32), axis=0)
    _, best = graph.ops("TopK", filled, i64(limit), results=2, axis=0)
    best = graph.op("Where", graph.op("Greater", found, i64(limit)), best, np.arange(limit))
    return graph.op("Gather", boxes, best, axis=0), graph.op("Min", found, i64(limit))


def _of_level(
    graph: GraphBuilder, proposals: Proposals, level: ProposalLevel, tensors: Sequence[ir.Value], im_shape: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """Return one level's boxes [N, 4] and scores [N]."""
    rows = graph.op("Reshape", graph.op("Transpose", tensors[0], perm=[0, 2, 3, 1]), i64(-1))
    deltas = graph.op("Reshape", graph.op("Transpose", tensors[1], perm=[0, 2, 3, 1]), i64(-1, 4))
    wanted = graph.op("Min", graph.op("Shape", rows), i64(proposals.pre_nms_top_n))
    if proposals.pre_nms_top_n <= 0:
        wanted = graph.op("Shape", rows)
    scores, best = graph.ops("TopK", rows, wanted, results=2, axis=0)
    deltas, anchors = (graph.op("Gather", tensor, best, axis=0) for tensor in (deltas, tensors[2]))
    offset = float(proposals.pixel_offset)
    boxes = _clip(graph, _decode(graph, deltas, anchors, level.variance, offset), im_shape, offset)
    scores = _without_small(graph, boxes, scores, max(proposals.min_size, 1.0), offset)
    kept = _suppress(graph, proposals, boxes, scores)
    return graph.op("Gather", boxes, kept, axis=0), graph.op("Gather", scores, kept, axis=0)


def _decode(graph: GraphBuilder, deltas: ir.Value, anchors: ir.Value, variance: float, offset: float) -> ir.Value:
    """Move the anchors' centres and scale their sides."""
    scaled = graph.op("Mul", deltas, f32(variance))
    shift, growth = graph.ops("Split", scaled, i64(2, 2), results=2, axis=1)
    low, high = graph.ops("Split", anchors, i64(2, 2), results=2, axis=1)
    sides = graph.op("Add", graph.op("Sub", high, low), f32(offset))
    centres = graph.op("Add", low, graph.op("Mul", sides, f32(0.5)))
    centres = graph.op("Add", graph.op("Mul", shift, sides), centres)
    sides = graph.op("Mul", graph.op("Exp", graph.op("Min", growth, f32(_LARGEST_GROWTH))), sides)
    half = graph.op("Mul", sides, f32(0.5))
    upper = graph.op("Sub", graph.op("Add", centres, half), f32(offset))
    return graph.op("Concat", graph.op("Sub", centres, half), upper, axis=1)


def _clip(graph: GraphBuilder, boxes: ir.Value, im_shape: ir.Value, offset: float) -> ir.Value:
    limits = graph.op("Sub", graph.op("Gather", im_shape, i64(1, 0, 1, 0), axis=1), f32(offset))
    return graph.op("Max", graph.op("Min", boxes, limits), f32(0))


def _without_small(graph: GraphBuilder, boxes: ir.Value, scores: ir.Value, min_size: float, offset: float) -> ir.Value:
    """Return the scores, with those of boxes that have a side under `min_size` filtered out."""
    low, high = graph.ops("Split", boxes, i64(2, 2), results=2, axis=1)
    sides = graph.op("Add", graph.op("Sub", high, low), f32(offset))
    shorter = graph.reduce("ReduceMin", sides, 1, keepdims=False)
    return graph.op("Where", graph.op("GreaterOrEqual", shorter, f32(min_size)), scores, f32(_FILTERED))


def _suppress(graph: GraphBuilder, proposals: Proposals, boxes: ir.Value, scores: ir.Value) -> ir.Value:
    """Return the indices, int64 [K], of the boxes [N, 4] that do not overlap a better one.

    With `pixel_offset` a side counts as x1 - x0 + 1: the same as moving the upper corners by one pixel.
    """
    if proposals.pixel_offset:
        boxes = graph.op("Add", boxes, f32(0, 0, 1, 1))
    selected = graph.op(
        "NonMaxSuppression",
        graph.op("Unsqueeze", boxes, i64(0)),
        graph.op("Unsqueeze", scores, i64(0, 1)),
        i64(proposals.post_nms_top_n),
        f32(proposals.nms_threshold),
        f32(_LOWEST),
    )
    return graph.op("Gather", selected, scalar(2), axis=1)
