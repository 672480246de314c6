"""The part of a core that stays in float: what is behind the last convolutions.

NNCF quantises everything that it can, the arithmetic of boxes and scores behind the heads included. With 8 bits that
loses 0.018 to 0.031 of the demo model's mask AP; with it in float the AP is that of fp32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


def name_nodes(graph: onnx.GraphProto) -> None:
    """Give each node a name of its own: NNCF is told by names what to leave."""
    for number, node in enumerate(graph.node):
        node.name = f"{number}.{node.op_type}"


def find_tail(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes that are no convolutions, and from which none can be reached.

    Args:
        graph: nodes that have names of their own, each behind those that make what it reads.
    """
    reaches: dict[str, bool] = {}  # by the name of a value: whether a convolution reads it, or something made of it
    tail = []
    for node in reversed(graph.node):
        if any(reaches.get(value, False) for value in node.output) or _convolves(node):
            reaches.update(dict.fromkeys(_reads(node), True))
        else:
            tail.append(node.name)
    return tail[::-1]


def _convolves(node: onnx.NodeProto) -> bool:
    """Return whether a node is a convolution, or has one in its subgraphs."""
    inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return node.op_type in CONVOLUTIONS or any(_convolves(each) for graph in inner for each in graph.node)


def _reads(node: onnx.NodeProto) -> list[str]:
    """Return what a node reads, its subgraphs included."""
    inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return [*node.input, *(value for graph in inner for each in graph.node for value in _reads(each))]
