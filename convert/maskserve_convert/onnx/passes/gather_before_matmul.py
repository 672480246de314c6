"""Mask-RT-DETR: the masks of the queries that are kept, in place of all queries' masks, of which some are then kept.

Behind its decoder the program multiplies the embeddings of all 300 queries with the mask features and takes the 100
best products. Taking the 100 embeddings first is a third of the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskserve_convert.onnx.builder import GraphBuilder, i64
from maskserve_convert.onnx.nodes import attribute, constant, producer, shape
from maskserve_convert.onnx.report import NearMisses

if TYPE_CHECKING:
    import onnx_ir as ir

# From the choice back to the product: the last of a list of one layer's results, which is split into rows and columns.
_PATH = ("Squeeze", "Slice", "Concat", "Unsqueeze", "Reshape", "MatMul")
_AXES = {"Squeeze": 1, "Slice": 3, "Unsqueeze": 1}  # which operand says along which sides


def gather_before_matmul(builder: GraphBuilder, misses: NearMisses) -> int:
    """Rewrite the choices of [batch, row] pairs among a product's rows; returns how many there are."""
    found = 0
    for node in [node for node in builder.graph if node.op_type == "GatherND"]:
        product = _product(node, misses)
        if product is None:
            continue
        if reason := _why_no_pairs(node):
            misses.add(reason)
            continue
        rows = builder.op("GatherND", product.inputs[0], node.inputs[1])
        chosen = builder.op("MatMul", rows, product.inputs[1])
        sides = shape(node.outputs[0])[1:]
        builder.replace(node.outputs[0], builder.op("Reshape", chosen, i64(-1, *sides)))
        found += 1
    return found


def _product(gather: ir.Node, misses: NearMisses) -> ir.Node | None:
    """Return the product that a choice is made of; None where there is something else in between."""
    node = gather
    for kind in _PATH:
        behind, before = node, producer(node.inputs[0])
        if before is not None and before.op_type == kind and _along_the_list(before):
            node = before
            continue
        if behind is not gather:
            what = "an input" if before is None else before.op_type
            another = " of several, or along another side" if what == kind else ""
            misses.add(f"between the product and the choice of its rows stands {what}{another}, not {kind}")
        return None
    return node


def _along_the_list(node: ir.Node) -> bool:
    """Return whether a node leaves all sides but the first alone, and makes no list of several."""
    if node.op_type == "Concat":
        return len(node.inputs) == 1
    if node.op_type not in _AXES:
        return True
    axes = constant(node.inputs[_AXES[node.op_type]])
    return axes is not None and axes.tolist() == [0]


def _why_no_pairs(gather: ir.Node) -> str | None:
    """Return why a choice is not of [batch, row] pairs, of masks of a known size; None where it is."""
    result, pairs = shape(gather.outputs[0]), shape(gather.inputs[1])
    if len(result) != 4 or not all(result[1:]):
        return "the size of the chosen masks is not known beforehand"
    if len(pairs) != 3 or pairs[2] != 2 or attribute(gather, "batch_dims"):
        return "the rows of the product are not chosen by pairs of image and row"
    return None
