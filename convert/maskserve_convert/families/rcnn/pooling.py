"""Pooling of boxes from a feature pyramid in ONNX: Paddle's `distribute_fpn_proposals` and `roi_align`, one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskserve_convert.families.rcnn.structure import Assignment, Pooling
from maskserve_convert.onnx.builder import GraphBuilder, f32, i64, scalar

if TYPE_CHECKING:
    import onnx_ir as ir

_INT64 = 7  # onnx.TensorProto


def pool(graph: GraphBuilder, pooling: Pooling, features: Sequence[ir.Value], boxes: ir.Value) -> ir.Value:
    """Add the nodes.

    Args:
        graph: where to.
        pooling: the attributes.
        features: the feature maps, [1, C, h, w] each.
        boxes: float32 [N, 4].

    Returns:
        float32 [N, C, *pooling.size], in the order of the boxes.
    """
    if pooling.assignment is None:
        return _align(graph, pooling, 0, features[0], boxes)
    level = _assign(graph, pooling.assignment, boxes)
    members = [_members(graph, level, number) for number in range(len(features))]
    pooled = [
        _align(graph, pooling, number, feature, graph.op("Gather", boxes, rows, axis=0))
        for number, (feature, rows) in enumerate(zip(features, members, strict=True))
    ]
    order = graph.op("Concat", *members, axis=0)
    return graph.op("Gather", graph.op("Concat", *pooled, axis=0), _inverse(graph, order), axis=0)


def _assign(graph: GraphBuilder, assignment: Assignment, boxes: ir.Value) -> ir.Value:
    """Return each box's level, int64 [N], counted from the lowest: floor(refer_level + log2(side / refer_scale)).

    Counted as the number of levels whose smallest side the box reaches, which needs no logarithm.
    """
    low, high = graph.ops("Split", boxes, i64(2, 2), results=2, axis=1)
    sides = graph.op("Add", graph.op("Max", graph.op("Sub", high, low), f32(0)), f32(float(assignment.pixel_offset)))
    side = graph.op("Sqrt", graph.reduce("ReduceProd", sides, 1, keepdims=True))
    levels = range(assignment.min_level + 1, assignment.max_level + 1)
    smallest = f32(*(assignment.refer_scale * 2.0 ** (level - assignment.refer_level) for level in levels))
    reached = graph.op("Cast", graph.op("GreaterOrEqual", side, smallest), to=_INT64)
    return graph.reduce("ReduceSum", reached, 1, keepdims=False)


def _members(graph: GraphBuilder, level: ir.Value, number: int) -> ir.Value:
    """Return the indices, int64 [n], of the boxes of a level."""
    found = graph.op("NonZero", graph.op("Equal", level, scalar(number)))
    return graph.op("Reshape", found, i64(-1))


def _align(graph: GraphBuilder, pooling: Pooling, number: int, feature: ir.Value, boxes: ir.Value) -> ir.Value:
    rows = graph.op("Slice", graph.op("Shape", boxes), i64(0), i64(1))
    return graph.op(
        "RoiAlign",
        feature,
        boxes,
        graph.op("Expand", i64(0), rows),
        mode="avg",
        output_height=pooling.size[0],
        output_width=pooling.size[1],
        sampling_ratio=pooling.sampling_ratio,
        spatial_scale=pooling.scales[number],
        coordinate_transformation_mode="half_pixel" if pooling.aligned else "output_half_pixel",
    )


def _inverse(graph: GraphBuilder, order: ir.Value) -> ir.Value:
    """Return the permutation that undoes `order`."""
    rows = graph.op("Shape", order)
    positions = graph.op("Range", scalar(0), graph.op("Squeeze", rows), scalar(1))
    return graph.op("ScatterElements", graph.op("Expand", i64(0), rows), order, positions, axis=0)
