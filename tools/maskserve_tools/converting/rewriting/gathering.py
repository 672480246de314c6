"""Mask-RT-DETR: the masks of the queries that are kept, in place of all queries' masks, of which some are then kept.

Behind its decoder the program multiplies the embeddings of all 300 queries with the mask features and takes the 100
best products. Taking the 100 embeddings first is a third of the work.
"""

from __future__ import annotations

from typing import Any

from maskserve_tools.converting.onnx_graph.converted import Converted, attribute
from maskserve_tools.converting.onnx_graph.shapes import Shapes
from maskserve_tools.converting.onnx_graph.writing import Graph, i64

# From the choice back to the product: the last of a list of one layer's results, which is split into rows and columns.
_PATH = ("Squeeze", "Slice", "Concat", "Unsqueeze", "Reshape", "MatMul")
_AXES = {"Squeeze": 1, "Slice": 3, "Unsqueeze": 1}  # which operand says along which sides


def gather_first(model: Converted, shapes: Shapes, graph: Graph) -> int:
    """Rewrite the choices of [batch, row] pairs among a product's rows; returns how many there are."""
    producers, gone = model.producers(), []
    for node in model.nodes:
        product = _product(model, producers, node) if node.op_type == "GatherND" else None
        if product is None or not _pairs(node, shapes):
            continue
        rows = graph.op("GatherND", product.input[0], node.input[1])
        chosen = graph.op("MatMul", rows, product.input[1])
        graph.call(graph.op("Reshape", chosen, i64(-1, *shapes[node.output[0]][1:])), node.output[0])
        gone.append(node)
    model.remove(gone)
    return len(gone)


def _product(model: Converted, producers: dict[str, Any], gather: Any) -> Any:
    """The product that a choice is made of; None where there is something else in between."""
    node = gather
    for kind in _PATH:
        node = producers.get(node.input[0])
        if node is None or node.op_type != kind or not _along_the_list(model, node):
            return None
    return node


def _along_the_list(model: Converted, node: Any) -> bool:
    """Whether a node leaves all sides but the first alone, and makes no list of several."""
    if node.op_type == "Concat":
        return len(node.input) == 1
    if node.op_type not in _AXES:
        return True
    axes = node.input[_AXES[node.op_type]]
    return axes in model.constants and model.array(axes).tolist() == [0]


def _pairs(gather: Any, shapes: Shapes) -> bool:
    """Whether a choice is of [batch, row] pairs, of masks of a known size."""
    result, pairs = shapes.get(gather.output[0], ()), shapes.get(gather.input[1], ())
    return (
        len(result) == 4
        and all(result[1:])
        and len(pairs) == 3
        and pairs[2] == 2
        and not attribute(gather, "batch_dims")
    )
