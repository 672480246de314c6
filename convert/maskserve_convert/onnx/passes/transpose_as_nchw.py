"""Transposing [N, positions, channels] to [N, channels, positions] as the change of layout of an image one wide.

The numbers are the same ones. Engines have fast code for images, whose layout they change all the time, and none, or
slow code, for other transpositions: OpenVINO takes a quarter of the time. It sees through a view as an image that is
undone right away; so this is done where another view follows, which takes the image as well.
"""

from __future__ import annotations

from maskserve_convert.onnx.builder import GraphBuilder, i64
from maskserve_convert.onnx.nodes import attribute, readers
from maskserve_convert.onnx.report import NearMisses


def transpose_as_nchw(builder: GraphBuilder, misses: NearMisses) -> int:
    """Rewrite the transpositions of the last two sides of three that are reshaped next; returns how many there are."""
    found = 0
    for node in list(builder.graph):
        if node.op_type != "Transpose" or attribute(node, "perm") != [0, 2, 1]:
            continue
        kinds = {reader.op_type for reader in readers(node.outputs[0])}
        if kinds != {"Reshape"}:
            if "Reshape" in kinds:
                others = " and ".join(sorted(kinds - {"Reshape"}))
                misses.add(f"{others} reads a transposition of the last two sides, too, which only Reshape may read")
            continue
        image = builder.op("Unsqueeze", node.inputs[0], i64(2))
        builder.replace(node.outputs[0], builder.op("Transpose", image, perm=[0, 3, 1, 2]))
        found += 1
    return found
