"""A head that convolves every box's pooled features (C4) takes its boxes in chunks.

The features of a thousand boxes are a gigabyte, and the answer for a box does not depend on its neighbours. The batch
normalisations are folded into their convolutions first: engines do that too, but for each chunk by itself, and would
hold as many copies of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskserve_convert.onnx.builder import GraphBuilder, i64
from maskserve_convert.onnx.folding import fold_normalisations
from maskserve_convert.onnx.nodes import are_constant, is_fixed, producer, readers, shape
from maskserve_convert.onnx.report import NearMisses

if TYPE_CHECKING:
    import onnx_ir as ir

_CHUNKS = 16
# What gives the same for a box with or without the others, as long as it gives something for every box.
_BOX_BY_BOX = frozenset({"RoiAlign", "Conv", "BatchNormalization", "Relu", "Add", "Slice"})


def chunk_roi_head(builder: GraphBuilder, misses: NearMisses) -> int:
    """Rewrite the heads of a fixed number of boxes; returns how many there are."""
    averages = [node for node in builder.graph if node.op_type == "GlobalAveragePool" and _head(node, misses)]
    if averages:
        fold_normalisations(builder, [node for node in builder.graph if node.op_type == "Conv"])
    for average in averages:
        head = _head(average, misses)
        boxes = shape(average.inputs[0])[0]
        builder.replace(average.outputs[0], _in_chunks(head, builder, boxes))
    return len(averages)


def _head(average: ir.Node, misses: NearMisses) -> list[ir.Node]:
    """Return the nodes from the pooling of a fixed number of boxes to each one's average; none in any other case."""
    found: dict[ir.Node, None] = {}
    left, boxes = [average.inputs[0]], next(iter(shape(average.inputs[0])), 0)
    while left:
        value = left.pop()
        node, sides = producer(value), shape(value)
        if node is not None and node not in found and len(sides) == 4 and sides[0] == boxes:
            found[node] = None
            left += () if node.op_type == "RoiAlign" else node.inputs
    if not any(node.op_type == "RoiAlign" for node in found):
        return []  # an average of something else
    assert average.graph is not None
    head = [*(node for node in average.graph if node in found), average]
    if reason := _why_not(head):
        misses.add(reason)
        return []
    return head


def _why_not(head: Sequence[ir.Node]) -> str | None:
    """Return why a head cannot take its boxes in chunks; None where it can."""
    inner = head[:-1]
    made = {node.outputs[0] for node in inner}
    if not all(is_fixed(shape(value)) for value in made):
        return "the number of boxes that the head convolves, or their size, is not known beforehand"
    if others := {node.op_type for node in inner} - _BOX_BY_BOX:
        return f"the head does not treat each box by itself: {' and '.join(sorted(others))}"
    outside = {reader.op_type for value in made for reader in readers(value) if reader not in head}
    if outside or any(value.is_graph_output() for value in made):
        return f"{' and '.join(sorted(outside)) or 'an output'} reads features between the pooling and the average, too"
    operands = [value for node in head if node.op_type != "RoiAlign" for value in node.inputs]
    if not are_constant(value for value in operands if value not in made):
        return "the head reads something that is computed elsewhere"
    return None


def _in_chunks(head: Sequence[ir.Node], builder: GraphBuilder, boxes: int) -> ir.Value:
    """Add the nodes once for each chunk of the boxes; returns what the last of them make, put together."""
    size = -(-boxes // _CHUNKS)
    results = [_chunk(head, builder, start, min(start + size, boxes)) for start in range(0, boxes, size)]
    return builder.op("Concat", *results, axis=0)


def _chunk(head: Sequence[ir.Node], builder: GraphBuilder, start: int, end: int) -> ir.Value:
    """Add the nodes for the boxes from `start` up to `end`; returns the last one's result."""
    values: dict[ir.Value, ir.Value] = {}
    for node in head:
        if node.op_type == "RoiAlign":
            rows = [value for value in node.inputs[1:] if value is not None]
            values |= {value: builder.op("Slice", value, i64(start), i64(end), i64(0)) for value in rows}
        values = builder.repeat([node], values)
    return values[head[-1].outputs[0]]
