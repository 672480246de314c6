"""The last steps in ONNX: Paddle's `multiclass_nms3` for one image, and the rows that leave the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from maskserve_convert.families.rcnn.structure import Suppression
from maskserve_convert.onnx.builder import GraphBuilder, f32, i64, scalar

if TYPE_CHECKING:
    import onnx_ir as ir

    from maskserve_convert.onnx.builder import Operand

_FLOAT = 1  # onnx.TensorProto


def keep_best(
    graph: GraphBuilder,
    suppression: Suppression,
    boxes: ir.Value,
    scores: ir.Value,
    *,
    count: ir.Value,
    floor: ir.Value,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Keep the best boxes of all classes, after the suppression in each class.

    Args:
        graph: where to.
        suppression: the attributes.
        boxes: float32 [R, C, 4].
        scores: float32 [R, C].
        count: int64 [1], how many of the R are meant.
        floor: float32 [1]; scores up to it are not wanted. Leaving them out first changes nothing for the others.

    Returns:
        labels int64 [N], scores float32 [N], boxes float32 [N, 4]: by class, and in each in the order of the R. Where
        nothing is left, one row with the label -1.
    """
    by_class = graph.op("Transpose", boxes, perm=[1, 0, 2])
    rows = graph.op("Slice", graph.op("Shape", boxes), i64(0), i64(1))
    numbers = graph.op("Range", scalar(0), graph.op("Squeeze", rows), scalar(1))
    columns = graph.op("Transpose", _foreground(graph, suppression, scores), perm=[1, 0])
    columns = graph.op("Where", graph.op("Less", numbers, count), columns, f32(-1))
    selected = graph.op(
        "NonMaxSuppression",
        by_class if suppression.normalized else graph.op("Add", by_class, f32(0, 0, 1, 1)),
        graph.op("Unsqueeze", columns, i64(1)),
        rows,
        f32(suppression.nms_threshold),
        graph.op("Max", f32(suppression.score_threshold), floor),
    )
    where = graph.op("Gather", selected, i64(0, 2), axis=1)
    labels, numbers = (graph.op("Gather", where, scalar(column), axis=1) for column in range(2))
    rank = graph.op("Add", graph.op("Mul", labels, rows), numbers)
    # Behind each column what is no instance, for where nothing else is left.
    ends: dict[ir.Value, Operand] = {
        labels: i64(-1),
        graph.op("GatherND", columns, where): f32(-1),
        graph.op("GatherND", by_class, where): np.zeros((1, 4), np.float32),
    }
    labels, kept, places = (graph.op("Concat", *column, axis=0) for column in ends.items())
    best = _best(graph, suppression.keep_top_k, kept, graph.op("Concat", rank, i64(0), axis=0))
    labels, kept, places = (graph.op("Gather", column, best, axis=0) for column in (labels, kept, places))
    return labels, kept, places


def _foreground(graph: GraphBuilder, suppression: Suppression, scores: ir.Value) -> ir.Value:
    """Return the scores, with 0 for the class that is no class, where there is one."""
    foreground = np.arange(suppression.classes) != suppression.background_label
    return scores if foreground.all() else graph.op("Mul", scores, foreground.astype(np.float32))


def _best(graph: GraphBuilder, limit: int, scores: ir.Value, rank: ir.Value) -> ir.Value:
    """Return the indices of the best rows by `rank`: at most `limit`, at least one, the last row last."""
    wanted = graph.op("Max", graph.op("Sub", graph.op("Shape", scores), i64(1)), i64(1))
    if limit > -1:
        wanted = graph.op("Min", wanted, i64(limit))
    _, best = graph.ops("TopK", scores, wanted, results=2, axis=0)
    _, order = graph.ops("TopK", graph.op("Gather", rank, best, axis=0), wanted, results=2, axis=0, largest=0)
    return graph.op("Gather", best, order, axis=0)


def to_original(graph: GraphBuilder, boxes: ir.Value, im_shape: ir.Value, scale_factor: ir.Value) -> ir.Value:
    """Return boxes [N, 4] in pixels of the original image, clipped to it."""
    size = graph.op("Floor", graph.op("Add", graph.op("Div", im_shape, scale_factor), f32(0.5)))
    twice = i64(1, 0, 1, 0)
    scaled = graph.op("Div", boxes, graph.op("Gather", scale_factor, twice, axis=1))
    return graph.op("Max", graph.op("Min", scaled, graph.op("Gather", size, twice, axis=1)), f32(0))


def rows(graph: GraphBuilder, labels: ir.Value, scores: ir.Value, boxes: ir.Value) -> ir.Value:
    """Return the rows [N, 6]: class (-1 for a box without an area), score, box."""
    low, high = graph.ops("Split", boxes, i64(2, 2), results=2, axis=1)
    shorter = graph.reduce("ReduceMin", graph.op("Sub", high, low), 1, keepdims=False)
    classes = graph.op("Cast", labels, to=_FLOAT)
    classes = graph.op("Where", graph.op("Greater", shorter, f32(0)), classes, f32(-1))
    columns = (graph.op("Unsqueeze", column, i64(1)) for column in (classes, scores))
    return graph.op("Concat", *columns, boxes, axis=1)


def of_class(graph: GraphBuilder, logits: ir.Value, labels: ir.Value) -> ir.Value:
    """Return the probabilities [N, h, w] for each row's own class, from logits [N, C, h, w]."""
    index = graph.op("Unsqueeze", graph.op("Max", labels, i64(0)), i64(1))
    return graph.op("Sigmoid", graph.op("GatherND", logits, index, batch_dims=1))
