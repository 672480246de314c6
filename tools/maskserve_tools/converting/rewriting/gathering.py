"""Mask-RT-DETR: the masks of the queries that are kept, in place of all queries' masks, of which some are then kept.

Behind its decoder the program multiplies the embeddings of all 300 queries with the mask features and takes the 100
best products. Taking the 100 embeddings first is a third of the work.
"""

from __future__ import annotations

from typing import Any

from maskserve_tools.converting.onnx_graph.converted import Converted, attribute
from maskserve_tools.converting.onnx_graph.shapes import Shapes
from maskserve_tools.converting.onnx_graph.writing import Graph, i64

# What stands between a product and the choice: other views of the product, and a list of one layer's results.
_VIEWS = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Concat", "Slice"})


def gather_first(model: Converted, shapes: Shapes, graph: Graph) -> int:
    """Rewrite the choices of [batch, row] pairs among a product's rows; returns how many there are."""
    producers, gone = model.producers(), []
    for node in model.nodes:
        product = _product(producers, node) if node.op_type == "GatherND" else None
        if product is None or not _pairs(node, shapes):
            continue
        rows = graph.op("GatherND", product.input[0], node.input[1])
        chosen = graph.op("MatMul", rows, product.input[1])
        graph.call(graph.op("Reshape", chosen, i64(-1, *shapes[node.output[0]][1:])), node.output[0])
        gone.append(node)
    model.remove(gone)
    return len(gone)


def _product(producers: dict[str, Any], gather: Any) -> Any:
    """The product that a choice is made of; None where there is something else in between."""
    node = producers.get(gather.input[0])
    while node is not None and node.op_type in _VIEWS and _is_view(node):
        node = producers.get(node.input[0])
    return node if node is not None and node.op_type == "MatMul" else None


def _is_view(node: Any) -> bool:
    return node.op_type != "Concat" or len(node.input) == 1


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
