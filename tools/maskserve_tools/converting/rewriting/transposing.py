"""Transposing [N, positions, channels] to [N, channels, positions] as the change of layout of an image one wide.

The numbers are the same ones. Engines have fast code for images, whose layout they change all the time, and none, or
slow code, for other transpositions: OpenVINO takes a quarter of the time. It sees through a view as an image that is
undone right away; so this is done where another view follows, which takes the image as well.
"""

from __future__ import annotations

from maskserve_tools.converting.onnx_graph.converted import Converted, attribute
from maskserve_tools.converting.onnx_graph.writing import Graph, i64


def transpose_as_images(model: Converted, graph: Graph) -> int:
    """Rewrite the transpositions of the last two sides of three that are reshaped next; returns how many there are."""
    found = 0
    for node in model.nodes:
        readers = model.readers(node.output[0])
        if attribute(node, "perm") == [0, 2, 1] and {reader.op_type for reader in readers} == {"Reshape"}:
            image = graph.op("Unsqueeze", node.input[0], i64(2))
            transposed = graph.op("Transpose", image, perm=[0, 3, 1, 2])
            for reader in readers:
                reader.input[0] = transposed
            found += 1
    return found
