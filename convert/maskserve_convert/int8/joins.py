"""Where the features of boxes from several levels of a pyramid are joined: nothing is quantised in front of that.

NNCF moves a quantisation up to where the numbers come from: behind each level's RoiAlign. But a level has boxes only
where an image shows something of its size. Where none of the images does, there are no numbers to measure a range of,
and NNCF gives up. Behind the join there are always some.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_POOLING, _JOIN = "RoiAlign", "Concat"
_MOVING = frozenset({"Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})


def find_joins(graph: onnx.GraphProto) -> list[str]:
    """Return the names of what pools the features of a level's boxes, of what joins levels, and of all in between.

    Args:
        graph: nodes that have names of their own, each behind those that make what it reads.
    """
    pooled: dict[str, set[str]] = {}  # by the name of a value that holds features: the nodes that it came through
    found: set[str] = set()
    for node in graph.node:
        if node.op_type == _POOLING:
            pooled[node.output[0]] = {node.name}
        elif node.op_type in _MOVING and node.input[0] in pooled:
            pooled[node.output[0]] = pooled[node.input[0]] | {node.name}
        elif node.op_type == _JOIN and any(value in pooled for value in node.input):
            found |= {node.name}.union(*(pooled.get(value, set()) for value in node.input))
    return [node.name for node in graph.node if node.name in found]
