"""A head that convolves every box's pooled features (C4) takes its boxes in portions.

The features of a thousand boxes are a gigabyte, and the answer for a box does not depend on its neighbours. The batch
normalisations are folded into their convolutions first: engines do that too, but for each portion by itself, and would
hold as many copies of the weights.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from maskserve_tools.converting.onnx_graph.converted import Converted, copied
from maskserve_tools.converting.onnx_graph.folding import fold_normalisations
from maskserve_tools.converting.onnx_graph.shapes import Shapes, fixed_shapes
from maskserve_tools.converting.onnx_graph.writing import Graph, i64

_PORTIONS = 16
# What gives the same for a box with or without the others, as long as it gives something for every box.
_BOX_BY_BOX = frozenset({"RoiAlign", "Conv", "BatchNormalization", "Relu", "Add", "Slice"})


def run_in_portions(path: Path) -> int:
    """Rewrite a core's file.

    Args:
        path: the ONNX file.

    Returns:
        how many such heads of a fixed number of boxes there were.
    """
    model, shapes, graph = Converted(path), fixed_shapes(path), Graph("portions")
    fold_normalisations(model, [node for node in model.nodes if node.op_type == "Conv"])
    heads = 0
    for average in [node for node in model.nodes if node.op_type == "GlobalAveragePool"]:
        head = _head(model, shapes, average)
        if head:
            model.remove([*head, average])
            _repeat([*head, average], graph, shapes[average.input[0]][0])
            heads += 1
    if heads:
        model.save(graph, path)
    return heads


def _head(model: Converted, shapes: Shapes, average: Any) -> list[Any]:
    """The nodes between the pooling of a fixed number of boxes and the average of each; none where it is otherwise."""
    boxes = shapes.get(average.input[0], (0,))[0]
    producers = {name: node for node in model.nodes for name in node.output}
    made = {name: producers[name] for name, shape in shapes.items() if name in producers and shape[0] == boxes}
    found: set[str] = set()
    left = [average.input[0]]
    while left:
        name = left.pop()
        if name not in found and name in made and len(shapes[name]) == 4:
            found.add(name)
            left += made[name].input
    nodes = [node for node in model.nodes if node.output[0] in found]
    kinds = {node.op_type for node in nodes}
    return nodes if "RoiAlign" in kinds and kinds <= _BOX_BY_BOX and _closed(model, [*nodes, average]) else []


def _closed(model: Converted, nodes: Collection[Any]) -> bool:
    """Whether nothing else reads what the nodes but the last make, nor they, but for the poolings, what others make."""
    *inner, last = nodes
    made, ids = {node.output[0] for node in inner}, {id(node) for node in nodes}
    known = {*made, *model.constants}
    readers = [reader for node in inner for reader in model.readers(node.output[0])]
    rest = (node for node in (*inner, last) if node.op_type != "RoiAlign")
    return all(id(reader) in ids for reader in readers) and all(known.issuperset(node.input) for node in rest)


def _repeat(nodes: Sequence[Any], graph: Graph, boxes: int) -> None:
    """Add the nodes once for each portion of the boxes, and put together what the last of them makes."""
    size = -(-boxes // _PORTIONS)
    results = [_portion(nodes, graph, start, min(start + size, boxes)) for start in range(0, boxes, size)]
    graph.call(graph.op("Concat", *results, axis=0), nodes[-1].output[0])


def _portion(nodes: Sequence[Any], graph: Graph, start: int, end: int) -> str:
    """Add the nodes for the boxes from `start` up to `end`; returns the last one's result."""
    own = {node.output[0]: f"{node.output[0]}.{start}" for node in nodes}
    for copy in copied(nodes, own):
        if copy.op_type == "RoiAlign":
            copy.input[1:] = [graph.op("Slice", name, i64(start), i64(end), i64(0)) for name in copy.input[1:]]
        graph.nodes.append(copy)
    return own[nodes[-1].output[0]]
